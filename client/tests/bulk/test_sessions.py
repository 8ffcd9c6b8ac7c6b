import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_client import Feature, InvalidSession, Signature
from nextitem_client._wire import build_requests, encode_session

SIGNATURE = Signature(
    bundle_version=1,
    window=20,
    max_sessions_per_request=3,
    max_interactions_per_session=50,
    max_id_bytes=32,
    top_k_default=5,
    top_k_limit=10,
    item_column="item_id",
    features=(Feature("item_id", "string"), Feature("size", "integer")),
    options=frozenset({"session_length", "top_k"}),
)


def refuse(session) -> str:
    with pytest.raises(InvalidSession) as caught:
        encode_session(session, SIGNATURE, 4)
    assert "session 4" in str(caught.value).lower()
    return str(caught.value)


def test_a_misspelt_feature_gets_a_hint():
    message = refuse([{"item_id": "a", "size": 1}, {"itemid": "a", "size": 1}])
    assert message.startswith("Event 1 of session 4 has 'itemid'")
    assert "did you mean item_id?" in message
    assert "The features are: item_id, size." in message
    assert "did you mean size?" in refuse({"item_id": ["a"], "sizes": [1]})


def test_a_missing_feature():
    assert "lacks size (use None" in refuse([{"item_id": "a"}])
    assert "lacks item_id, size" in refuse({})


def test_a_wrong_type_names_feature_session_event_and_both_types():
    assert refuse([{"item_id": "a", "size": 1}, {"item_id": 42, "size": 1}]) == (
        "Feature item_id of event 1 of session 4 is 42 (int); expected is a str, or None."
    )
    assert "size of event 0 of session 4 is 1.0 (float); expected is an int" in refuse(
        {"item_id": ["a"], "size": np.array([1.0])}
    )
    assert len(refuse([{"item_id": "a", "size": "x" * 1000}])) < 250


def test_columns_of_different_length():
    assert "(item_id 2, size 1)" in refuse({"item_id": ["a", "b"], "size": [1]})


def test_arrays_of_two_dimensions():
    assert "shape (1, 1)" in refuse({"item_id": ["a"], "size": np.array([[1]])})


@pytest.mark.parametrize("session", ["abc", 5, None, b"x", object()])
def test_what_is_no_session(session):
    assert "expected is a list of events (dicts) or a dict of columns" in refuse(session)


def test_what_is_no_event():
    assert refuse([{"item_id": "a", "size": 1}, "b"]).startswith("Event 1 of session 4 is a str")


def test_a_single_value_is_repeated():
    assert encode_session({"item_id": ["a", "b"], "size": 3}, SIGNATURE, 0) == [[b"a", b"b"], [3, 3]]
    assert encode_session({"item_id": "a", "size": np.array(3)}, SIGNATURE, 0) == [[b"a"], [3]]
    assert encode_session({"item_id": [], "size": 3}, SIGNATURE, 0) == [[], []]


ids = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
sizes = st.none() | st.integers(-(2**63) + 1, 2**63 - 1)
events = st.fixed_dictionaries({"item_id": ids, "size": sizes})


@given(st.lists(st.lists(events, max_size=5), max_size=8))
def test_every_row_can_be_read_back(sessions):
    requests = list(build_requests(sessions, SIGNATURE, None))
    assert [len(request["size"]) for request in requests] == [
        len(sessions[start : start + 3]) for start in range(0, len(sessions), 3)
    ]
    read = []
    for request in requests:
        width = max(1, int(request["session_length"].max()))
        assert request["item_id"].shape == request["size"].shape == (len(request["size"]), width)
        assert request["size"].dtype == np.int64
        assert request["session_length"].dtype == request["top_k"].dtype == np.int32
        for row, length in enumerate(request["session_length"][:, 0]):
            pairs = zip(request["item_id"][row, :length], request["size"][row, :length].tolist())
            read.append([
                {"item_id": raw.decode() or None, "size": None if size == -(2**63) else size}
                for raw, size in pairs
            ])  # fmt: skip
    assert read == sessions


def test_all_sessions_are_checked_before_the_first_request():
    good = [{"item_id": "a", "size": 1}]
    with pytest.raises(InvalidSession, match="session 5"):
        build_requests([good] * 5 + [[{"item_id": 1, "size": 1}]], SIGNATURE, None)
