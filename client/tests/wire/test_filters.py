import numpy as np
import pytest
from client.tests.support.models import EVENT, INT64_MIN
from hypothesis import given
from hypothesis import strategies as st

from nextitem_client import Client, Feature, InvalidOption, Signature, UnsupportedOption
from nextitem_client._wire import build_requests
from nextitem_client._wire.filters import read_filters

ALL = frozenset({"session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen"})


def signature(kind: str = "string", options: frozenset = ALL, limit: int = 8) -> Signature:
    return Signature(
        bundle_version=1,
        window=20,
        max_sessions_per_request=3,
        max_interactions_per_session=50,
        max_id_bytes=32,
        top_k_default=5,
        top_k_limit=10,
        item_column="item_id",
        features=(Feature("item_id", kind),),
        options=options,
        max_filter_ids=limit,
    )


def read(sessions=2, exclude=None, allow=None, exclude_seen=False, one=False, of=None):
    return read_filters(of or signature(), sessions, exclude, allow, exclude_seen, one)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", "b"], [[b"a", b"b"]] * 2),
        (("a", "a", None, ""), [[b"a"]] * 2),
        ({"a"}, [[b"a"]] * 2),
        (frozenset(), [[]] * 2),
        ([], [[]] * 2),
        (np.array(["a", "b"]), [[b"a", b"b"]] * 2),
        ({"a": 1}.keys(), [[b"a"]] * 2),
        ([["a"], ["b", "c"]], [[b"a"], [b"b", b"c"]]),
        ([None, {"b"}], [[], [b"b"]]),
        (([], ("a",)), [[], [b"a"]]),
        ([None, None], [[], []]),
        (np.array([["a"], ["b"]]), [[b"a"], [b"b"]]),
    ],
)
def test_one_collection_for_all_or_one_per_session(given, expected):
    assert read(exclude=given).exclude == expected


def test_pandas_series():
    pandas = pytest.importorskip("pandas")
    assert read(exclude=pandas.Series(["a", None])).exclude == [[b"a"]] * 2
    assert read(exclude=[pandas.Series(["a"]), pandas.Index(["b"])]).exclude == [[b"a"], [b"b"]]


def test_integer_ids():
    numbers = signature("integer")
    assert read(exclude=[1, np.int64(2), INT64_MIN], of=numbers).exclude == [[1, 2]] * 2
    with pytest.raises(InvalidOption, match=r"^exclude holds 'a' \(str\); expected is an int, as item_id is a integer"):
        read(exclude=["a"], of=numbers)


def test_what_is_not_asked_for_is_not_there():
    filters = read()
    assert (filters.exclude, filters.allow, filters.exclude_seen) == (None, None, None)


@pytest.mark.parametrize("given", ["abc", b"a", 5, {"a": 1}, True])
def test_what_is_no_collection(given):
    with pytest.raises(InvalidOption, match="expected is a list of item ids, or None for no rule"):
        read(exclude=given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([["a"], "b"], r"mixes ids and lists of ids \(entry 1 is 'b'\)"),
        ([["a"]], r"exclude holds 1 lists of ids for 2 sessions"),
        ([["a"], None, []], r"exclude holds 3 lists of ids for 2 sessions"),
        ([["a"], ["b", 5]], r"exclude of session 1 holds 5 \(int\); expected is a str"),
        ([[], list("abcdefghi")], r"exclude of session 1 holds 9 ids; this model takes at most 8"),
        (list("abcdefghi"), r"exclude holds 9 ids"),
    ],
)
def test_what_cannot_be_meant(given, message):
    with pytest.raises(InvalidOption, match=message):
        read(exclude=given)


def test_recommend_takes_no_lists_of_lists():
    with pytest.raises(InvalidOption, match=r"exclude holds \['a'\] \(list\); expected is a str"):
        read(1, exclude=[["a"]], one=True)
    with pytest.raises(InvalidOption, match="expected is True or False"):
        read(1, exclude_seen=[True], one=True)


@pytest.mark.parametrize("empty", [[], (), set(), [None], [""], np.array([])])
def test_an_empty_allow_is_refused(empty):
    with pytest.raises(InvalidOption, match="allow holds no id, so that nothing could be recommended"):
        read(1, allow=empty, one=True)
    with pytest.raises(InvalidOption, match="allow of session 1 holds no id"):
        read(allow=[["a"], empty])
    assert read(allow=[["a"], None]).allow == [[b"a"], []]
    assert read(allow=[None, None]).allow == [[], []]


def test_exclude_seen():
    assert read(exclude_seen=True).exclude_seen == [True, True]
    assert read(exclude_seen=np.bool_(False)).exclude_seen is None
    assert read(exclude_seen=[True, False]).exclude_seen == [True, False]
    for wrong in ("yes", 1, None, [True], [1, 0]):
        with pytest.raises(InvalidOption, match="expected is True or False, or a list of 2"):
            read(exclude_seen=wrong)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"exclude": []}, "exclude_item_ids"),
        ({"allow": ["a"]}, "allow_item_ids"),
        ({"exclude_seen": True}, "exclude_seen"),
    ],
)
def test_what_the_model_does_not_know(given, option):
    with pytest.raises(UnsupportedOption, match=rf"exported without the option {option} \(it has: session_length\)"):
        read(of=signature(options=frozenset({"session_length"})), **given)
    assert read(of=signature(options=frozenset())).exclude_seen is None


ids = st.lists(st.text("abc", min_size=1, max_size=3), max_size=6)


@given(st.lists(st.none() | ids, min_size=1, max_size=8), st.data())
def test_every_row_can_be_read_back(excluded, data):
    sessions = [[{"item_id": "a"}]] * len(excluded)
    seen = data.draw(st.lists(st.booleans(), min_size=len(sessions), max_size=len(sessions)))
    filters = read(len(sessions), exclude=[one or [] for one in excluded], exclude_seen=seen)
    requests = list(build_requests(sessions, signature(), 2, filters))
    rows, flags = [], []
    for request in requests:
        assert request["exclude_item_ids"].shape[0] == len(request["session_length"])
        assert request["exclude_item_ids"].shape[1] >= 1
        assert request["exclude_seen"].dtype == np.bool_
        assert "allow_item_ids" not in request
        rows += [[one.decode() for one in row if one] for row in request["exclude_item_ids"].tolist()]
        flags += request["exclude_seen"][:, 0].tolist()
    assert rows == [list(dict.fromkeys(one or [])) for one in excluded]
    assert flags == seen


# Against Triton.


@pytest.fixture
def shop(many, protocol, url):
    with Client(url(many, protocol), "shop") as client:
        yield client


def test_what_arrives(shop, received):
    plain = received(shop.recommend([EVENT]))
    assert not {"exclude_item_ids", "allow_item_ids", "exclude_seen"} & set(plain)
    row = received(shop.recommend([EVENT], exclude=["ä", "b"], allow={"a"}, exclude_seen=True))
    assert row["exclude_item_ids"] == ["ä".encode(), b"b"]
    assert row["allow_item_ids"] == [b"a"]
    assert row["exclude_seen"] == [True]
    assert set(row) == set(plain) | {"exclude_item_ids", "allow_item_ids", "exclude_seen"}


def test_rows_are_filled_with_null_also_across_requests(shop, received):
    excluded = [["x", "y"], None, [], ["z"], ["w"]]  # four sessions are one request
    answers = shop.recommend_many([[EVENT]] * 5, exclude=excluded, exclude_seen=[True, False, True, False, True])
    rows = [received(answer) for answer in answers]
    assert [row["exclude_item_ids"] for row in rows] == [[b"x", b"y"], [b"", b""], [b"", b""], [b"z", b""], [b"w"]]
    assert [row["exclude_seen"] for row in rows] == [[True], [False], [True], [False], [True]]
    assert [answer.item_ids for answer in answers] == [[], ["a"], [], ["a"], []]


def test_filters_act(shop):
    session = [{**EVENT, "item_id": item} for item in "abc"]
    assert shop.recommend(session, exclude=["b"]).item_ids == ["c", "a"]
    assert shop.recommend(session, allow=["b", "unknown"]).item_ids == ["b"]
    assert shop.recommend(session, exclude_seen=True).item_ids == []


def test_integers_on_the_wire(many, protocol, url, received):
    with Client(url(many, protocol), "numbers") as client:
        answers = client.recommend_many([{"item_id": [1, 2]}, {"item_id": [3]}], exclude=[[2, 2**63 - 1], [3]])
        assert [answer.item_ids for answer in answers] == [[1], []]
        assert received(answers[1])["exclude_item_ids"] == [3, INT64_MIN]
        with pytest.raises(UnsupportedOption, match="without the option exclude_seen"):
            client.recommend({"item_id": [1]}, exclude_seen=True)


def test_the_limit_of_ids(shop):
    assert shop.signature.max_filter_ids == 8
    with pytest.raises(InvalidOption, match="9 ids; this model takes at most 8 per session"):
        shop.recommend([EVENT], exclude=list("bcdefghij"))
