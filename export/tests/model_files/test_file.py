"""What comes as a model file: what is opened, what it reads, and whose rows it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from export.tests.model_files.test_onnx_file import model_of
from nextitem_export import ModelFile, UnsupportedModel
from nextitem_export.model_files.file import check_ids, feature_names, is_onnx, opened

SCRIPT = torch.jit.trace(nn.Linear(2, 2), (torch.zeros(1, 2),))


def refusal(call, *arguments, **named) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_what_is_no_file_stays_what_it_is():
    module = nn.Linear(2, 2)
    for given in (module, None, {"a": 1}, nn.Linear):
        assert opened(given) is given
    assert "the model of the ModelFile is of type Linear" in refusal(opened, ModelFile(module))


def test_a_module_is_called_by_the_file(tmp_path):
    torch.jit.save(SCRIPT, str(tmp_path / "3-shop.v2.pt"))
    assert type(opened(tmp_path / "3-shop.v2.pt")).__name__ == "_3_shop_v2_pt"
    assert type(opened(model_of())).__name__ == "ModelProto"
    assert is_onnx(opened(model_of()))
    assert not is_onnx(opened(SCRIPT))


def test_a_table_makes_queries_of_what_is_given():
    for given in (SCRIPT, model_of()):
        assert not hasattr(opened(given), "query")
        query = opened(ModelFile(given, item_table=np.ones((5, 2))))
        assert query.item_table().shape == (5, 2)
        assert any(query.item_table() is parameter for parameter in query.parameters())


def test_torchscript_has_no_names_of_outputs():
    assert "output is 'scores', and TorchScript has no names of outputs" in refusal(
        opened, ModelFile(SCRIPT, output="scores")
    )


def test_the_features_are_those_that_are_told_or_read():
    module = nn.Linear(2, 2)
    assert feature_names(module, ["b"], ("a", "b")) == ("b",)
    assert feature_names(module, None, ("a", "b")) == ("a", "b")
    module.feature_names = ("a",)
    assert feature_names(module, None, ("a", "b")) == ("a",)
    graph = opened(model_of())
    assert feature_names(graph, None, ("a", "codes")) == ("codes",)
    assert feature_names(graph, ["codes", "a"], ("a", "codes")) == ("codes", "a")
    said = refusal(feature_names, graph, None, ("item",))
    assert said.startswith("ModelProto reads codes, and the workflow's lists are item: say which of them each input is")
    assert "ModelFile(…, inputs={'codes': 'item'})" in said
    assert "ModelProto reads codes, and features are item" in refusal(feature_names, graph, ["item"], ("item", "codes"))


def test_ids_are_compared_by_the_model_s_rows():
    model = opened(ModelFile(SCRIPT, item_ids=[None, "", 0, 7, "8"]))
    codes = np.arange(5)
    check_ids(model, np.array([7, 8]), codes)
    check_ids(nn.Linear(2, 2), np.array([9, 9]), codes)
    assert "row 3 of TopLevelTracedModule is 7 by its item_ids and 8 by the workflow's vocabulary, 2 of 2" in refusal(
        check_ids, model, np.array([8, 7]), codes
    )
    assert "item_ids has 5 ids, and the workflow's vocabulary has an item in row 5" in refusal(
        check_ids, model, np.array([7, 8]), codes + 1
    )
