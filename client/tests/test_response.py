import numpy as np
import pytest

from nextitem_client import UnexpectedResponse
from nextitem_client._response import read_response

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
