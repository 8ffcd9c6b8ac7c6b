"""Bad input gets a sentence that names the tensor, what came and what is expected; the server stays up (README.md, 8)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving_tests.support.made.shop import MAX_TOP_K
from serving_tests.support.raw_client import RawClient, Refused

Change = Callable[[dict], dict]


def column(*values: int, dtype: type = np.int32) -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(-1, 1)


def without(name: str) -> Change:
    return lambda t: {key: value for key, value in t.items() if key != name}


def renamed(old: str, new: str) -> Change:
    return lambda t: {new if key == old else key: value for key, value in t.items()}


def having(**values: object) -> Change:
    return lambda t: {**t, **{k: v(t[k]) if callable(v) else v for k, v in values.items()}}


def of_value(name: str, value: object) -> Change:
    def change(tensors: dict) -> dict:
        values = tensors[name].copy()
        values[1, 0] = value
        return {**tensors, name: values}

    return change


IDS = np.array([[b"A13", b""], [b"B4", b"C5"]], dtype=object)

# What is done to a good request of two sessions, and what the sentence must hold.
BAD: dict[str, tuple[Change, list[str]]] = {
    "missing feature": (without("price"), ["'price'", "missing", "'item_id'", "[sessions, interactions]"]),
    "misspelt feature": (renamed("price", "prize"), ["prize"]),
    "unknown tensor": (having(colour_of_hair=column(1, 1)), ["colour_of_hair"]),
    "no feature at all": (lambda t: {"top_k": column(3, 3)}, ["'item_id'", "'price'", "missing"]),
    "float64 price": (having(price=lambda v: v.astype(np.float64)), ["price", "FP64", "FP32"]),
    "int32 country": (having(country=lambda v: v.astype(np.int32)), ["country", "INT32", "INT64"]),
    "items as numbers": (having(item_id=lambda v: np.ones(v.shape, np.int64)), ["item_id", "INT64", "BYTES"]),
    "three dimensions": (having(price=lambda v: v[..., None]), ["price", "[-1,-1]"]),
    "one dimension": (having(item_id=lambda v: v[0]), ["item_id", "[-1,-1]"]),
    "other length": (having(price=lambda v: v[:, :-1]), ["'price'", "'item_id'", "session_length"]),
    "other number of sessions": (having(price=lambda v: v[:1]), ["'price'", "'item_id'", "session_length"]),
    "session_length above T": (having(session_length=column(1, 10_000)), ["'session_length'", "10000", "session 1"]),
    "negative session_length": (having(session_length=column(-1, 1)), ["'session_length'", "-1", "session 0"]),
    "one session_length of two": (having(session_length=column(1)), ["'session_length'", "[1, 1]", "[2, 1]"]),
    "session_length as int64": (having(session_length=column(1, 1, dtype=np.int64)), ["session_length", "INT32"]),
    "top_k 0": (having(top_k=column(0, 0)), ["'top_k'", "is 0", f"1 to {MAX_TOP_K}"]),
    "negative top_k": (having(top_k=column(-5, -5)), ["'top_k'", "-5", f"1 to {MAX_TOP_K}"]),
    "top_k above the limit": (
        having(top_k=column(MAX_TOP_K + 1, MAX_TOP_K + 1)),
        ["'top_k'", str(MAX_TOP_K + 1), f"1 to {MAX_TOP_K}"],
    ),
    "two values of top_k": (having(top_k=column(3, 4)), ["'top_k'", "[3, 4]", "one value"]),
    "top_k for one of two": (having(top_k=column(3)), ["'top_k'", "[1, 1]", "[2, 1]"]),
    "invalid UTF-8": (of_value("item_id", b"A\xff"), ["'item_id'", "UTF-8", "session 1, interaction 0", "0xff"]),
    "a string too long": (of_value("category", b"x" * 1025), ["'category'", "1025 bytes", "1024"]),
    "infinite price": (of_value("price", np.inf), ["'price'", "infinite", "session 1, interaction 0"]),
    "a NUL in a string": (of_value("item_id", b"A\0"), ["'item_id'", "NUL", "session 1, interaction 0"]),
    "a string cut within a character": (of_value("item_id", "ø".encode()[:1]), ["'item_id'", "UTF-8", "0xc3"]),
    "half a surrogate pair": (of_value("item_id", b"\xed\xa0\x80"), ["'item_id'", "UTF-8", "0xed"]),
    "items as floats, NaN among them": (
        having(item_id=lambda v: np.full(v.shape, np.nan, np.float32)),
        ["item_id", "FP32", "BYTES"],
    ),
    "excluded items as numbers": (having(exclude_item_ids=column(1, 2)), ["exclude_item_ids", "INT32", "BYTES"]),
    "excluded items in one dimension": (having(exclude_item_ids=IDS[:, 0]), ["exclude_item_ids", "[-1,-1]"]),
    "excluded items of one session of two": (
        having(exclude_item_ids=IDS[:1]),
        ["'exclude_item_ids'", "[1, 2]", "[2, ids]", "filled with null"],
    ),
    "allowed items of three sessions": (
        having(allow_item_ids=np.concatenate([IDS, IDS[:1]])),
        ["'allow_item_ids'", "[3, 2]", "[2, ids]"],
    ),
    "an allowed item too long": (
        having(allow_item_ids=np.array([[b"A13"], [b"x" * 1025]], dtype=object)),
        ["'allow_item_ids'", "1025 bytes in session 1, id 0", "1024"],
    ),
    "an excluded item of invalid UTF-8": (
        having(exclude_item_ids=np.array([[b"A13", b"\xff"], [b"", b""]], dtype=object)),
        ["'exclude_item_ids'", "UTF-8", "session 0, id 1"],
    ),
    "an excluded item with a NUL": (
        having(exclude_item_ids=np.array([[b"A13"], [b"A13\0"]], dtype=object)),
        ["'exclude_item_ids'", "NUL", "session 1, id 0"],
    ),
    "exclude_seen as numbers": (having(exclude_seen=column(1, 1)), ["exclude_seen", "INT32", "BOOL"]),
    "exclude_seen for one of two": (
        having(exclude_seen=column(1, dtype=bool)),
        ["'exclude_seen'", "[1, 1]", "[2, 1]", "one flag per session"],
    ),
    "exclude_seen for each interaction": (having(exclude_seen=np.ones((2, 3), bool)), ["exclude_seen", "[-1,1]"]),
    "no interactions": (
        lambda t: {k: v[:, :0] if k not in ("session_length", "top_k") else v for k, v in t.items()},
        ["[2, 0]", "at least one", "'session_length'"],
    ),
}

#: Where a model is batched, Triton itself compares the tensors' numbers of sessions, before the model sees them.
SESSIONS_DIFFER = {
    "one dimension", "other number of sessions", "one session_length of two", "top_k for one of two",
    "excluded items of one session of two", "allowed items of three sessions", "exclude_seen for one of two",
}  # fmt: skip
BY_TRITON = "' batch size does not match other inputs"


@pytest.fixture
def good(sessions, encode) -> dict[str, np.ndarray]:
    return encode([session.iloc[:3] for session in sessions if len(session) >= 3][:2])


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_gets_a_sentence(raw_client: RawClient, good, case: str) -> None:
    change, expected = BAD[case]
    if "fused" in raw_client.model and case in SESSIONS_DIFFER:
        expected = [BY_TRITON]
    with pytest.raises(Refused) as refused:
        raw_client.ask(change(good))
    sentence = str(refused.value)
    for part in expected:
        assert part in sentence, sentence
    assert refused.value.status in ("400", "INVALID_ARGUMENT")
    assert "Traceback" not in sentence
    assert ".py" not in sentence
    assert raw_client.alive()
    assert raw_client.ask(good).status == ["ok", "ok"]


def test_one_limit_on_sessions_per_request(raw_client: RawClient, sessions, encode) -> None:
    few = [sessions[i % len(sessions)].iloc[:2] for i in range(65)]
    assert len(raw_client.ask(encode(few[:64])).status) == 64
    with pytest.raises(Refused, match="65 sessions in one request, at most 64"):
        raw_client.ask(encode(few))


def test_a_session_beyond_the_limit_of_interactions(raw_client: RawClient, good) -> None:
    def stretched(length: int) -> dict[str, np.ndarray]:
        options = ("session_length", "top_k")
        features = {k: np.repeat(v[:1, :1], length, axis=1) for k, v in good.items() if k not in options}
        return features

    assert raw_client.ask(stretched(10_000)).status == ["ok"]
    with pytest.raises(Refused, match="10001 interactions per session, at most 10000"):
        raw_client.ask(stretched(10_001))


def test_a_bad_request_does_not_harm_those_beside_it(raw_client: RawClient, good, server) -> None:
    expected = raw_client.ask(good)

    def one(row: int) -> object:
        own = RawClient(raw_client.protocol, getattr(server, f"{raw_client.protocol}_url"), raw_client.model)
        try:
            return own.ask({**good, "top_k": column(0, 0)} if row % 3 == 0 else good)
        except Refused as refused:
            return str(refused)
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(24)))
    for row, answer in enumerate(answers):
        if row % 3 == 0:
            assert "'top_k' is 0" in answer
        else:
            np.testing.assert_allclose(answer.scores, expected.scores, rtol=0, atol=1e-4)
