"""Native bundles by the command: behind a real Triton, and in this process.

The embedded server has none of the backends that retrieval is for there. So each one's graph runs in the Python backend, by
the library alone and nothing of ours, with the configuration as it is but for the backend's name. The steps around it run as
they are, without ONNX Runtime. The contract's tests then say that a native bundle answers, filters and refuses as the Python
runtime's does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nextitem_client import OfflineClient, RequestRejected
from nextitem_server import TritonServer
from serving_tests.contract.test_bad_requests import (  # noqa: F401  the same sentences as everywhere
    good,
    test_a_bad_request_does_not_harm_those_beside_it,
    test_a_bad_request_gets_a_sentence,
    test_a_session_beyond_the_limit_of_interactions,
    test_one_limit_on_sessions_per_request,
)
from serving_tests.contract.test_contract import (  # noqa: F401  the contract's tests, run on what the fixtures below serve
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
from serving_tests.contract.test_filters import (  # noqa: F401  and its filters
    filtered,
    test_all_rules_act_together,
    test_as_many_items_come_as_there_are,
    test_cold_and_empty_sessions_are_filtered_too,
    test_concurrent_requests_keep_their_own_filters,
    test_each_session_allows_its_own_items,
    test_each_session_excludes_its_own_items,
    test_filters_that_leave_nothing_give_null_and_the_lowest_score,
    test_lists_of_any_length_are_answered,
    test_seen_items_are_left_out_also_those_beyond_the_window,
    test_what_excludes_nothing,
)
from serving_tests.contract.test_random_requests import pool, test_random_requests_are_answered_as_offline  # noqa: F401
from serving_tests.support.encoding import encode_sessions
from serving_tests.support.made.cache import Made
from serving_tests.support.made.shop import MAX_TOP_K, NATIVE
from serving_tests.support.native_shim import as_python_backend
from serving_tests.support.processes import running_triton
from serving_tests.support.ranking import SCORE_TOLERANCE
from serving_tests.support.raw_client import RawClient

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own
BACKENDS = {"native": "onnxruntime", "native_torchscript": "pytorch"}


@pytest.fixture(scope="module")
def exported(made: Made) -> Path:
    """A native bundle for each backend."""
    return made.result("native")


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The real tritonserver."""
    repository = tmp_path_factory.mktemp("shim") / "model_repository"
    repository.mkdir()
    for name in NATIVE:
        as_python_backend(exported / name, repository, BACKENDS[name])
    with running_triton(repository, verify=False) as running:
        yield running


@pytest.fixture(scope="module", params=[("native", "http"), ("native_torchscript", "grpc")], ids="-".join)
def raw_client(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[RawClient]:
    """Each backend; the protocols are Triton's and not the bundle's."""
    name, protocol = request.param
    raw_client = RawClient(protocol, getattr(server, f"{protocol}_url"), name)
    yield raw_client
    raw_client.close()


@pytest.fixture(scope="module")
def signature(exported: Path) -> dict:
    """The signature that clients read."""
    return json.loads((exported / "native" / "1" / "bundle.json").read_text())["request"]


@pytest.fixture(scope="module")
def encode(signature: dict):
    """Raw sessions to the tensors of a request."""
    return lambda batch, **options: encode_sessions(signature["features"], batch) | options


def test_the_export_says_that_no_server_has_run_a_native_bundle(made: Made) -> None:
    names = {"repository/shop": False, **{f"native/{name}": True for name in NATIVE}}
    assert {name: "No server has run this bundle" in made.printed(name) for name in names} == names


@pytest.mark.parametrize("name", NATIVE)
def test_offline_answers_are_those_of_the_python_runtime(repository: Path, exported: Path, sessions, name: str) -> None:
    asked = [session.drop(columns="session_id").to_dict("list") for session in sessions]
    asked += [{**asked[0], "item_id": ["never seen"] * len(asked[0]["item_id"])}]
    options = {"k": 30, "exclude_seen": True}
    with OfflineClient(repository / "shop") as python, OfflineClient(exported / name) as native:
        for few, more in ((asked, {}), (asked, options), (asked[:9], {"exclude": [["A13", "never"]] * 9})):
            for one, other in zip(native.recommend_many(few, **more), python.recommend_many(few, **more), strict=True):
                assert (one.status, one.item_ids) == (other.status, other.item_ids)
                np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=SCORE_TOLERANCE)
        with pytest.raises(RequestRejected, match=f"'top_k' is {MAX_TOP_K + 1}.*1 to {MAX_TOP_K}"):
            native.recommend(asked[0], k=MAX_TOP_K + 1)
