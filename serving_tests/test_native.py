"""Native bundles by the command: their graphs behind a real Triton, and in this process.

The embedded server has none of the backends that they are for. So each graph runs in the Python backend, by Python's ONNX
Runtime and nothing of ours, with the configuration as it is but for the backend's name: the contract's tests then say that the
graphs answer as the Python runtime does. What Triton's own backends would refuse at load, the export's lint looks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextitem_client import OfflineClient, RequestRejected
from nextitem_server import TritonServer
from serving_tests.support.asking import Asker, Refused
from serving_tests.support.commands import succeed
from serving_tests.support.made.shop import MAX_TOP_K
from serving_tests.support.native_shim import as_python_backend
from serving_tests.support.packing import pack_sessions
from serving_tests.support.ranking import SCORE_TOLERANCE
from serving_tests.test_bad_requests import BAD, good  # noqa: F401  a fixture
from serving_tests.test_contract import (  # noqa: F401  the contract's tests, run on what the fixtures below serve
    test_a_long_session_keeps_its_newest,
    test_an_answer_does_not_depend_on_neighbours_and_padding,
    test_answers_hold_raw_ids_and_as_many_as_wanted,
    test_beyond_the_catalogue_the_answer_is_filled_with_null,
    test_concurrent_requests_do_not_mix,
    test_each_session_is_answered_in_its_row,
    test_every_held_out_session_is_answered_as_offline,
    test_interactions_are_sorted_by_time_and_ties_keep_their_order,
    test_nulls_of_every_type_mean_null,
    test_padding_may_hold_anything,
    test_session_length_defaults_to_the_tensors_length,
    test_unknown_items_count_as_unknown,
)
from serving_tests.test_random_requests import pool, test_random_requests_are_answered_as_offline  # noqa: F401

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own
NATIVE = {
    "native": ("--runtime", "native"),
    "native_fused": ("--runtime", "native", "--layout", "fused"),
}


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both layouts of the native bundle, and the Python runtime's."""
    folder = tmp_path_factory.mktemp("native") / "model_repository"
    for name, options in {"python": (), **NATIVE}.items():
        printed = succeed(
            "nextitem-export", "--run", run, "--repository", folder, "--name", name, "--max-top-k", MAX_TOP_K, *options,
        )  # fmt: skip
        assert ("No server has run this bundle" in printed) == (name in NATIVE)
    return folder


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The real tritonserver."""
    repository = tmp_path_factory.mktemp("shim") / "model_repository"
    repository.mkdir()
    for name in NATIVE:
        as_python_backend(exported / name, repository)
    with TritonServer(repository, verify=False) as running:
        yield running


@pytest.fixture(scope="module", params=[("native", "http"), ("native_fused", "grpc")], ids="-".join)
def asker(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[Asker]:
    """Each layout; the protocols are Triton's and not the graphs'."""
    name, protocol = request.param
    asker = Asker(protocol, getattr(server, f"{protocol}_url"), name)
    yield asker
    asker.close()


@pytest.fixture(scope="module")
def signature(exported: Path) -> dict:
    """The signature that clients read."""
    return json.loads((exported / "native" / "1" / "bundle.json").read_text())["request"]


@pytest.fixture(scope="module")
def pack(signature: dict):
    """Raw sessions to the tensors of a request."""
    return lambda batch, **options: pack_sessions(signature["features"], batch) | options


#: What the graphs themselves refuse, and what their sentence holds.
GUARDED = {
    "missing feature": ["missing input 'price'", "'item_id'", "[sessions, interactions]"],
    "no feature at all": ["missing input 'item_id'"],
    "other length": ["input 'price' has another shape than input 'item_id'", "session_length"],
    "other number of sessions": ["input 'price' has another shape than input 'item_id'"],
    "session_length above T": ["'session_length'", "idx=10000"],
    "negative session_length": ["'session_length'", "idx=-1"],
    "one session_length of two": ["'session_length'", "{1,1}", "{2,1}"],
    "top_k 0": ["'top_k'", f"1 to {MAX_TOP_K}", "idx=0"],
    "negative top_k": ["'top_k'", f"1 to {MAX_TOP_K}", "idx=-5"],
    "top_k above the limit": ["'top_k'", f"1 to {MAX_TOP_K}", f"idx={MAX_TOP_K + 1}"],
    "two values of top_k": ["'top_k'", "one value", "idx=4"],
    "top_k for one of two": ["'top_k'", "{1,1}", "{2,1}"],
    "infinite price": ["'price'", "infinite", "idx=1"],
    "excluded items of one session of two": ["'exclude_item_ids'", "{1,2}", "{2,2}", "filled with null"],
    "allowed items of three sessions": ["'allow_item_ids'", "{3,2}", "{2,2}"],
    "exclude_seen for one of two": ["'exclude_seen'", "{1,1}", "{2,1}", "one flag per session"],
    "no interactions": ["no interactions", "at least one", "'session_length'"],
}
#: What Triton refuses itself, by the configuration.
CONFIGURED = (
    "misspelt feature", "unknown tensor", "float64 price", "int32 country", "items as numbers", "three dimensions",
    "one dimension", "session_length as int64", "excluded items as numbers", "excluded items in one dimension",
    "exclude_seen as numbers", "exclude_seen for each interaction", "items as floats, NaN among them",
)  # fmt: skip
#: docs/native.md: strings cannot be checked. What no item is, is unknown.
UNCHECKED = (
    "invalid UTF-8", "a string too long", "a NUL in a string", "a string cut within a character", "half a surrogate pair",
    "an allowed item too long", "an excluded item of invalid UTF-8", "an excluded item with a NUL",
)  # fmt: skip


def test_each_case_of_a_bad_request_is_known_here() -> None:
    assert set(GUARDED) | set(CONFIGURED) | set(UNCHECKED) == set(BAD)


@pytest.mark.parametrize("case", [*GUARDED, *CONFIGURED])
def test_a_bad_request_gets_a_sentence(asker: Asker, good, case: str) -> None:  # noqa: F811
    change, expected = BAD[case]
    with pytest.raises(Refused) as refused:
        asker.ask(change(good))
    for part in GUARDED.get(case, expected):
        assert part in str(refused.value)
    assert asker.ask(good).status == ["ok", "ok"]


@pytest.mark.parametrize("case", UNCHECKED)
def test_strings_are_not_checked(asker: Asker, good, case: str) -> None:  # noqa: F811
    change, _ = BAD[case]
    assert asker.ask(change(good)).status == ["ok", "ok"]


def test_one_limit_on_sessions_per_request(asker: Asker, sessions, pack) -> None:
    few = [sessions[i % len(sessions)].iloc[:2] for i in range(65)]
    assert len(asker.ask(pack(few[:64])).status) == 64
    with pytest.raises(Refused, match=r"too many sessions in one request, at most 64.*idx=65"):
        asker.ask(pack(few))


@pytest.mark.parametrize("name", NATIVE)
def test_offline_answers_are_those_of_the_python_runtime(exported: Path, sessions, name: str) -> None:
    asked = [session.drop(columns="session_id").to_dict("list") for session in sessions]
    asked += [{**asked[0], "item_id": ["never seen"] * len(asked[0]["item_id"])}]
    options = {"k": 30, "exclude_seen": True}
    with OfflineClient(exported / "python") as python, OfflineClient(exported / name) as native:
        for few, more in ((asked, {}), (asked, options), (asked[:9], {"exclude": [["A13", "never"]] * 9})):
            for one, other in zip(native.recommend_many(few, **more), python.recommend_many(few, **more), strict=True):
                assert (one.status, one.item_ids) == (other.status, other.item_ids)
                np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=SCORE_TOLERANCE)
        with pytest.raises(RequestRejected, match=f"'top_k' is out of range, expected 1 to {MAX_TOP_K}"):
            native.recommend(asked[0], k=MAX_TOP_K + 1)


def test_offline_a_long_session_and_a_frame_are_answered(exported: Path, sessions) -> None:
    long = pd.concat(sessions[:12], ignore_index=True).drop(columns="session_id").to_dict("list")
    with OfflineClient(exported / "python") as python, OfflineClient(exported / "native_fused") as native:
        assert native.recommend(long).item_ids == python.recommend(long).item_ids
