import sys

import numpy as np
import pytest

from nextitem_client import MissingPackage, Recommendation, Recommendations, UnexpectedResponse
from nextitem_client._wire.response import read_response

LOWEST = np.finfo(np.float32).min


def tensors(ids: np.ndarray, scores: list) -> dict:
    status = np.full((len(ids), 1), b"ok", dtype=object)
    return {"item_ids": ids, "scores": np.array(scores, dtype=np.float32), "status": status}


def test_fill_up_is_left_out():
    text = tensors(np.array([[b"a", b""], [b"", b""]], dtype=object), [[1, LOWEST]] * 2)
    answers = read_response(text, 2, "shop", "1")
    assert [answer.item_ids for answer in answers] == [["a"], []]
    assert [answer.scores for answer in answers] == [[1.0], []]
    numbers = tensors(np.array([[5, -(2**63)]]), [[1, LOWEST]])
    assert read_response(numbers, 1, "shop", "1")[0].item_ids == [5]


@pytest.mark.parametrize("missing", ["item_ids", "scores", "status"])
def test_a_missing_tensor(missing):
    complete = tensors(np.array([[5]]), [[1]])
    del complete[missing]
    with pytest.raises(UnexpectedResponse, match=f"answered without {missing}"):
        read_response(complete, 1, "shop", "1")


def test_fewer_rows_than_sessions():
    with pytest.raises(UnexpectedResponse, match="answered 2 sessions with"):
        read_response(tensors(np.array([[5]]), [[1]]), 2, "shop", "1")


def recommendation(*items: str, status: str = "ok") -> Recommendation:
    return Recommendation(list(items), [1.0 / (rank + 1) for rank in range(len(items))], status, "shop", "1")


def test_a_table():
    pytest.importorskip("pandas")
    frame = Recommendations(
        [recommendation("a", "b"), recommendation(), recommendation("c", status="cold")]
    ).to_pandas()
    assert frame.to_dict("list") == {
        "session": [0, 0, 2],
        "rank": [1, 2, 1],
        "item_id": ["a", "b", "c"],
        "score": [1.0, 0.5, 1.0],
        "status": ["ok", "ok", "cold"],
    }
    assert list(Recommendations().to_pandas().columns) == ["session", "rank", "item_id", "score", "status"]


def test_a_table_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackage, match=r"Install it with: pip install pandas$"):
        Recommendations().to_pandas()
    with pytest.raises(ImportError):
        Recommendations().to_pandas()


def test_answers_are_equal_whatever_the_request_was_called():
    first, second = (Recommendation(["a"], [1.0], "ok", "shop", "1", request_id=one) for one in "xy")
    assert first == second
    assert isinstance(Recommendations([first]), list)
