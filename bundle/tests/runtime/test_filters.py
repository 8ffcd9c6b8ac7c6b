from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nextitem_bundle.runtime.filters import WIDTHS, encode_filters
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.request import RequestError, read_request
from nextitem_bundle.runtime.signature import Feature, Signature
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, PADDING, UNKNOWN
from nextitem_bundle.runtime.wire import NULL_INT64

STRINGS = Signature(
    bundle_version=1,
    window=2,
    item_column="item",
    features=(Feature("item", "string"),),
    top_k_default=5,
    top_k_limit=9,
    max_sessions_per_request=64,
    max_interactions_per_session=20_000,
    max_id_bytes=12,
    max_filter_ids=WIDTHS[-1],
    options=("session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen"),
)
INTEGERS = dataclasses.replace(STRINGS, features=(Feature("item", "integer"),))
LIMITS = np.iinfo(np.int64)
#: Raw ids by code from 3, others, and null: what a caller sends, as Python values.
KINDS = {
    "strings": (STRINGS, ["a", "b", "ø", "🛍", "日本", "aa"], ["c", "á", "never"], ""),
    "integers": (INTEGERS, [0, 5, LIMITS.max, LIMITS.min + 1, 2**53 + 1], [2**53, LIMITS.max - 1, -1], NULL_INT64),
}


def tensor(rows: list[list], null: object, width: int | None = None) -> np.ndarray:
    """Raw ids [B, E] as they come: int64 or UTF-8, filled with null."""
    width = max(map(len, rows)) if width is None else width
    filled = np.empty((len(rows), width), dtype=np.int64 if isinstance(null, int) else object)
    for row, ids in enumerate(rows):
        for place, item in enumerate([*ids, *[null] * (width - len(ids))]):
            filled[row, place] = item if isinstance(item, int) else item.encode()
    return filled


def encode(kind: str, sessions: list[list], **filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    signature, catalogue, _, null = KINDS[kind]
    lengths = np.array([[len(session)] for session in sessions], dtype=np.int32)
    tensors = {"item": tensor(sessions, null, max(1, *map(len, sessions))), "session_length": lengths, **filters}
    values = np.array(catalogue, dtype=object if kind == "strings" else np.int64)
    return encode_filters(tensors, read_request(tensors, signature), signature, ItemIndex.of(values))


def listed(codes: np.ndarray) -> list[set[int]]:
    """The codes of each session; they stand first, each once, and behind them there is padding."""
    assert codes.dtype == np.int64
    found = [set(row[row != PADDING].tolist()) for row in codes]
    assert [int((row != PADDING).sum()) for row in codes] == [len(row) for row in found]
    assert all((row[len(codes) :] == PADDING).all() for row, codes in zip(codes, found, strict=True))
    return found


@st.composite
def requests(draw):
    kind = draw(st.sampled_from(sorted(KINDS)))
    _, catalogue, unknown, null = KINDS[kind]
    ids = st.lists(st.sampled_from([*catalogue, *unknown, null]), max_size=12)
    rows = draw(st.integers(1, 5))
    lists = st.lists(ids, min_size=rows, max_size=rows)
    return kind, draw(lists), draw(lists), draw(lists), draw(st.lists(st.booleans(), min_size=rows, max_size=rows))


@given(requests())
def test_ids_become_codes_by_the_rules_of_the_contract(drawn):
    kind, sessions, excluded, allowed, seen = drawn
    _, catalogue, _, null = KINDS[kind]
    code = {item: FIRST_ITEM + place for place, item in enumerate(catalogue)}
    sent = {"exclude_item_ids": tensor(excluded, null), "allow_item_ids": tensor(allowed, null)}
    out, only = encode(kind, sessions, **sent, exclude_seen=np.array(seen)[:, None])
    assert out.shape == only.shape == (len(sessions), WIDTHS[0])
    for row, (barred, kept) in enumerate(zip(listed(out), listed(only), strict=True)):
        due = [*excluded[row], *(sessions[row] if seen[row] else [])]
        assert barred == {code[item] for item in due if item in code}
        assert kept == {code.get(item, UNKNOWN) for item in allowed[row] if item != null}


@pytest.mark.parametrize("kind", KINDS)
def test_without_filters_there_are_lists_of_padding(kind):
    catalogue = KINDS[kind][1]
    for filters in ({}, {"exclude_seen": np.zeros((2, 1), dtype=bool)}):
        for codes in encode(kind, [catalogue[:1], catalogue[:2]], **filters):
            assert codes.shape == (2, WIDTHS[0])
            assert not codes.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [0, 1, 7])
def test_lists_without_ids_and_of_null_alone_set_no_rule(kind, width):
    _, catalogue, _, null = KINDS[kind]
    none = tensor([[], []], null, width)
    assert none.shape == (2, width)
    for codes in encode(kind, [catalogue, catalogue], exclude_item_ids=none, allow_item_ids=none):
        assert not codes.any()


def test_an_unknown_id_alone_allows_nothing_and_excludes_nothing():
    ids = tensor([["never"], ["a"]], "")
    out, only = encode("strings", [["a"], ["a"]], exclude_item_ids=ids, allow_item_ids=ids)
    assert listed(out) == [set(), {FIRST_ITEM}]
    assert listed(only) == [{UNKNOWN}, {FIRST_ITEM}]


def test_what_was_seen_beyond_the_window_counts_and_padding_does_not():
    session = ["🛍", "a", "a", "b", "never", ""]
    assert len(session) > STRINGS.window
    seen = np.array([[True], [False], [True]])
    out, _ = encode("strings", [session, ["b"], []], exclude_seen=seen)
    assert listed(out) == [{3, 4, 6}, set(), set()]


def test_what_was_seen_joins_what_is_excluded():
    out, _ = encode(
        "strings",
        [["a", "ø"], ["b"]],
        exclude_item_ids=tensor([["ø", "🛍"], ["aa"]], ""),
        exclude_seen=np.array([[True], [True]]),
    )
    assert listed(out) == [{3, 5, 6}, {4, 8}]


WIDE = ItemIndex.of(np.arange(1, WIDTHS[-1] + 10))


def wide(name: str, counts: list[int], **changes: np.ndarray) -> np.ndarray:
    """The codes where session i lists `counts[i]` items, each twice."""
    most = max(counts)
    ids = np.full((len(counts), 2 * most + 1), NULL_INT64)
    for row, count in enumerate(counts):
        ids[row, : 2 * count] = np.tile(np.arange(1, count + 1), 2)
    tensors = {"item": np.ones((len(counts), 1), dtype=np.int64), name: ids, **changes}
    codes = encode_filters(tensors, read_request(tensors, INTEGERS), INTEGERS, WIDE)
    return codes[name == "allow_item_ids"]


@pytest.mark.parametrize("name", ["exclude_item_ids", "allow_item_ids"])
@pytest.mark.parametrize(
    ("count", "width"), [(1, 64), (64, 64), (65, 1_024), (1_024, 1_024), (1_025, 16_384), (16_384, 16_384)]
)
def test_the_widths_are_few_and_the_widest_session_chooses(name, count, width):
    codes = wide(name, [1, count])
    assert codes.shape == (2, width)
    assert listed(codes) == [{3}, {*range(3, 3 + count)}]


@pytest.mark.parametrize("name", ["exclude_item_ids", "allow_item_ids"])
def test_more_items_than_the_limit_are_refused(name):
    with pytest.raises(RequestError) as caught:
        wide(name, [1, 16_385, 3])
    message = str(caught.value)
    assert message.startswith(f"input '{name}' has 16385 different items for session 1, at most 16384 are allowed")
    assert "availability list" in message


def test_items_that_were_seen_count_towards_the_limit():
    seen = {"exclude_seen": np.array([[True]])}
    assert wide("exclude_item_ids", [16_384], **seen).shape == (1, 16_384)  # the one that was seen is listed
    with pytest.raises(RequestError, match=r"16385 different items for session 0.*exclude_seen"):
        wide("exclude_item_ids", [16_384], item=np.array([[16_390]]), **seen)


@pytest.mark.parametrize("name", ["exclude_item_ids", "allow_item_ids"])
@pytest.mark.parametrize(
    ("ids", "parts"),
    [
        (np.ones((1, 1), np.int64), ["has type int64", "expected BYTES (object)"]),
        (np.ones((1, 1), np.float32), ["has type float32", "expected BYTES"]),
        (np.array(["a"], dtype=object), ["has shape [1]", "expected [1, ids]", "filled with null"]),
        (np.array("a", dtype=object), ["has shape []", "expected [1, ids]"]),
        (np.array([["a"], ["a"]], dtype=object), ["has shape [2, 1]", "expected [1, ids]"]),
        (np.array([[["a"]]], dtype=object), ["has shape [1, 1, 1]", "expected [1, ids]"]),
        (np.empty((0, 3), dtype=object), ["has shape [0, 3]", "expected [1, ids]"]),
        (np.array([[b"a", b"\xff"]], dtype=object), ["is not valid UTF-8 in session 0, id 1", "byte 0xff"]),
        (np.array([[b"a\0b"]], dtype=object), ["has a NUL character in session 0, id 0", "leave it out"]),
        (np.array([[b"", b"", b"x" * 13]], dtype=object), ["has 13 bytes in session 0, id 2", "at most 12"]),
    ],
)
def test_wrong_lists_are_refused_with_a_sentence(name, ids, parts):
    with pytest.raises(RequestError) as caught:
        encode("strings", [["a"]], **{name: ids})
    assert str(caught.value).startswith(f"input '{name}' ")
    for part in parts:
        assert part in str(caught.value)


def test_integer_ids_want_int64():
    with pytest.raises(RequestError, match=r"'allow_item_ids' has type int32, expected INT64 \(int64\)"):
        encode("integers", [[5]], allow_item_ids=np.ones((1, 1), np.int32))


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (np.ones((1, 1), np.int32), ["has type int32", "expected BOOL (bool)"]),
        (np.array([["true"]], dtype=object), ["has type object", "expected BOOL"]),
        (np.array([True]), ["has shape [1]", "expected [1, 1]", "one flag per session"]),
        (np.array([[True, False]]), ["has shape [1, 2]", "expected [1, 1]"]),
        (np.array([[True], [True]]), ["has shape [2, 1]", "expected [1, 1]"]),
    ],
)
def test_wrong_flags_are_refused_with_a_sentence(flags, parts):
    with pytest.raises(RequestError) as caught:
        encode("strings", [["a"]], exclude_seen=flags)
    assert str(caught.value).startswith("input 'exclude_seen' ")
    for part in parts:
        assert part in str(caught.value)


@given(st.data())
def test_whatever_comes_is_codes_or_a_request_error(data):
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    shape = st.one_of(npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), st.just((2, 3)))
    dtype = st.sampled_from([np.int64, np.int32, np.float32, bool, "S3"])
    binary = st.binary(max_size=13).map(lambda value: np.array([[value]] * 2, dtype=object))
    values = st.one_of(dtype.flatmap(lambda d: npst.arrays(np.dtype(d), shape)), binary)
    names = st.sampled_from(["exclude_item_ids", "allow_item_ids", "exclude_seen"])
    filters = data.draw(st.dictionaries(names, values, min_size=1))
    catalogue, refusal = KINDS[kind][1], None
    try:
        out, only = encode(kind, [catalogue[:2], catalogue[:1]], **filters)
    except RequestError as error:
        refusal = str(error)
    if refusal:
        assert any(f"'{name}'" in refusal for name in filters)
        return
    assert all(codes <= {*range(FIRST_ITEM, FIRST_ITEM + len(catalogue))} for codes in listed(out))
    assert all(codes <= {*range(UNKNOWN, FIRST_ITEM + len(catalogue))} for codes in listed(only))
