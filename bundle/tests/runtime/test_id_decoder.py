"""The items step in the form without ONNX Runtime: requests that wait together, each with the items that it wants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nextitem_bundle.runtime.counters import Counters, Series
from nextitem_bundle.runtime.step import OwnProcess, open_step
from nextitem_bundle.runtime.steps import Items, Queue, write_step
from nextitem_bundle.runtime.triton.batching import answering

INPUTS = ("codes", "scores", "status", "top_k")


def request(codes: list[list[int]], wanted: int) -> dict[str, np.ndarray]:
    rows = len(codes)
    scores = np.linspace(1, 0, np.size(codes), dtype=np.float32).reshape(np.shape(codes))
    values = (np.array(codes), scores, np.zeros((rows, 1), np.int32), np.full((rows, 1), wanted))
    return dict(zip(INPUTS, values, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_step(tmp_path, Items("numpy", INPUTS, queue=Queue(4, 0, 0.0, 1)))
    np.save(tmp_path / "items.npy", np.array([0, 0, 0, *range(41, 49)]))
    return tmp_path


def test_requests_that_wait_together_get_as_many_items_as_each_wants(folder: Path) -> None:
    counters = Counters()
    asked = [
        request([[3, 4, 5]], 2),
        request([[6, 7, 8], [9, 10, 3]], 3),
        request([[5, 4, 3]], 1),
        request([[4, 3, 5]], 3),
    ]
    answers = answering(open_step(folder, OwnProcess(counters)))(asked)
    assert [answer["item_ids"].tolist() for answer in answers] == [
        [[41, 42]], [[44, 45, 46], [47, 48, 41]], [[43]], [[42, 41, 43]],
    ]  # fmt: skip
    for answer, tensors in zip(answers, asked, strict=True):
        wanted = tensors["top_k"][0, 0]
        assert answer["scores"].tolist() == tensors["scores"][:, :wanted].tolist()
        assert set(answer["status"].ravel()) == {"ok"}
    counts = counters.take()
    assert (counts[Series("nextitem_sessions_total", "ok")], counts[Series("nextitem_items_returned_total")]) == (5, 12)
