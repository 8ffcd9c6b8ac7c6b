from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from nextitem_bundle.runtime.special_ids import COLD, EMPTY, OK
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export.graphs.id_decoder import INPUTS, write_items
from nextitem_export.workflow.graph_builder import IR_VERSION, OPSET

STRINGS = np.array(["ø", "b", "a b", "☃"], dtype=object)
INTEGERS = np.array([2**63 - 1, 2**53 + 1, -(2**53) - 1, 0])


@pytest.fixture(params=[STRINGS, INTEGERS], ids=["strings", "integers"])
def values(request):
    return request.param


@pytest.fixture(params=["onnx", "numpy"])
def written(request, values, tmp_path):
    """The folder of the step in each backend."""
    write_items(values, tmp_path, request.param)
    return tmp_path


def ask(folder, codes, wanted: int):
    codes = np.array(codes)
    scores = np.linspace(1, 0, codes.size, dtype=np.float32).reshape(codes.shape)
    status = np.array([[OK], [COLD], [EMPTY]], dtype=np.int32)[: len(codes)]
    tensors = dict(zip(INPUTS, (codes, scores, status, np.full((len(codes), 1), wanted)), strict=True))
    return open_step(folder).run(tensors), scores


def test_codes_become_the_very_ids_of_training(values, written):
    answer, _ = ask(written, [[6, 5, 4, 3]], 4)
    assert answer["item_ids"].tolist() == [values[::-1].tolist()]


def test_special_codes_become_the_null_of_the_type(values, written):
    answer, _ = ask(written, [[3, 0, 1, 2]], 4)
    assert answer["item_ids"].tolist() == [[values[0], *["" if values is STRINGS else NULL_INT64] * 3]]


def test_the_answer_has_as_many_items_as_wanted(values, written):
    answer, scores = ask(written, [[3, 4, 5], [4, 5, 6], [5, 6, 3]], 2)
    assert answer["item_ids"].tolist() == [values[[0, 1]].tolist(), values[[1, 2]].tolist(), values[[2, 3]].tolist()]
    np.testing.assert_array_equal(answer["scores"], scores[:, :2])
    assert answer["status"].tolist() == [["ok"], ["cold"], ["empty"]]


def test_both_forms_give_the_same_types(values, tmp_path):
    answers = []
    for backend in ("onnx", "numpy"):
        (tmp_path / backend).mkdir()
        write_items(values, tmp_path / backend, backend)
        answers.append(ask(tmp_path / backend, [[3, 0, 6]], 3)[0])
    for name, due in answers[0].items():
        assert (answers[1][name].dtype, answers[1][name].shape) == (due.dtype, due.shape), name
        assert type(answers[1][name].tolist()[0][0]) is type(due.tolist()[0][0])


def test_an_unknown_form_is_refused_with_the_known_ones(values, tmp_path):
    write_items(values, tmp_path)
    settings = json.loads((tmp_path / "step.json").read_text())
    (tmp_path / "step.json").write_text(json.dumps({**settings, "backend": "magic"}))
    with pytest.raises(ValueError, match="backend 'magic', this runtime knows onnx, numpy"):
        open_step(tmp_path)


def test_the_graph_is_of_a_version_that_triton_reads(values, tmp_path):
    write_items(values, tmp_path)
    graph = onnx.load(str(tmp_path / "model.onnx"))
    assert graph.ir_version <= IR_VERSION
    assert graph.opset_import[0].version == OPSET
