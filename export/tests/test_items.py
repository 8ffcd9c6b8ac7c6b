from __future__ import annotations

import numpy as np
import onnx
import pytest

from nextitem_bundle.runtime.codes import COLD, EMPTY, OK
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export.graphs.formats import IR_VERSION, OPSET
from nextitem_export.graphs.items import INPUTS, write_items

STRINGS = np.array(["ø", "b", "a b", "☃"], dtype=object)
INTEGERS = np.array([2**63 - 1, 2**53 + 1, -(2**53) - 1, 0])


@pytest.fixture(params=[STRINGS, INTEGERS], ids=["strings", "integers"])
def values(request):
    return request.param


def ask(folder, codes, wanted: int):
    codes = np.array(codes)
    scores = np.linspace(1, 0, codes.size, dtype=np.float32).reshape(codes.shape)
    status = np.array([[OK], [COLD], [EMPTY]], dtype=np.int32)[: len(codes)]
    tensors = dict(zip(INPUTS, (codes, scores, status, np.array([wanted])), strict=True))
    return open_step(folder).run(tensors), scores


def test_codes_become_the_very_ids_of_training(values, tmp_path):
    write_items(values, tmp_path)
    answer, _ = ask(tmp_path, [[6, 5, 4, 3]], 4)
    assert answer["item_ids"].tolist() == [values[::-1].tolist()]


def test_special_codes_become_the_null_of_the_type(values, tmp_path):
    write_items(values, tmp_path)
    answer, _ = ask(tmp_path, [[3, 0, 1, 2]], 4)
    assert answer["item_ids"].tolist() == [[values[0], *["" if values is STRINGS else NULL_INT64] * 3]]


def test_the_answer_has_as_many_items_as_wanted(values, tmp_path):
    write_items(values, tmp_path)
    answer, scores = ask(tmp_path, [[3, 4, 5], [4, 5, 6], [5, 6, 3]], 2)
    assert answer["item_ids"].tolist() == [values[[0, 1]].tolist(), values[[1, 2]].tolist(), values[[2, 3]].tolist()]
    np.testing.assert_array_equal(answer["scores"], scores[:, :2])
    assert answer["status"].tolist() == [["ok"], ["cold"], ["empty"]]


def test_the_graph_is_of_a_version_that_triton_reads(values, tmp_path):
    write_items(values, tmp_path)
    graph = onnx.load(str(tmp_path / "model.onnx"))
    assert graph.ir_version <= IR_VERSION
    assert graph.opset_import[0].version == OPSET
