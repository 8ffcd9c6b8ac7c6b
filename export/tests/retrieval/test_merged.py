"""Nodes of an ONNX file in the retrieval step: names, opsets, branches, functions, and what is left out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step
from nextitem_export import ModelFile, UnsupportedModel
from nextitem_export.model_files.file import opened
from nextitem_export.retrieval.formats import write_retrieval
from nextitem_export.retrieval.merged import prepare
from nextitem_export.retrieval.module import ModelFeature, Retrieval
from nextitem_export.retrieval.tensors import CODES, SCORES
from nextitem_export.workflow.graph_builder import DYNAMO_OPSET, OPSET

ITEMS, WINDOW = 12, 3
FEATURES = (ModelFeature("item", "feature__0", "int64"),)
EXAMPLE = (torch.tensor([[3, 4, 0], [5, 0, 0]]),)
WEIGHT = np.random.default_rng(0).normal(size=(ITEMS, ITEMS)).astype(np.float32)


def branch(name: str, op: str) -> onnx.GraphProto:
    node = helper.make_node(op, ["sums"], ["result"], "node")
    return helper.make_graph([node], name, [], [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)])


def model_of(opset: int = OPSET, *, function: bool = False) -> onnx.ModelProto:
    """Sums of rows, negated where the batch has an item beyond 3; names that the graph has too, and an output nobody needs."""
    tensor = helper.make_tensor_value_info
    axes = numpy_helper.from_array(np.array([1]), "feature__0")
    nodes = [
        helper.make_node("Gather", ["weight", "item"], ["ranking/table"], "node"),
        helper.make_node("ReduceSum", ["ranking/table", "feature__0"], ["sums"], "sum", keepdims=0),
        helper.make_node("Greater", ["item", "limit"], ["beyond"]),
        helper.make_node("Cast", ["beyond"], ["numbers"], to=TensorProto.INT32),
        helper.make_node("Cast", ["numbers"], ["fractions"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["fractions"], ["flat"], axis=0),
        helper.make_node("TopK", ["flat", "one"], ["most", "place"], axis=1),
        helper.make_node("Squeeze", ["most"], ["any"]),
        helper.make_node("Cast", ["any"], ["condition"], to=TensorProto.BOOL),
        helper.make_node(
            "If", ["condition"], ["scores"], then_branch=branch("then", "Neg"), else_branch=branch("else", "Identity")
        ),
        helper.make_node("Mul", ["sums", "unneeded"], ["other"]),
    ]
    functions = []
    if function:
        imports = [helper.make_opsetid("", opset)]
        body = [helper.make_node("Add", ["x", "x"], ["y"])]
        functions = [helper.make_function("own", "Twice", ["x"], ["y"], body, imports)]
        nodes += [helper.make_node("Twice", ["scores"], ["twice"], domain="own")]
    graph = helper.make_graph(
        nodes,
        "graph",
        [tensor("item", TensorProto.INT64, ["B", "T"])],
        [
            tensor("twice" if function else "scores", TensorProto.FLOAT, ["B", ITEMS]),
            tensor("other", TensorProto.FLOAT, None),
        ],
        [
            axes,
            numpy_helper.from_array(WEIGHT, "weight"),
            numpy_helper.from_array(np.array(3), "limit"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.float32(2), "unneeded"),
        ],
    )
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid("own", 1)] if function else [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


def file_of(model: onnx.ModelProto):
    return opened(ModelFile(model, output=model.graph.output[0].name))


@pytest.mark.parametrize("opset", [13, OPSET, DYNAMO_OPSET])
@pytest.mark.parametrize("function", [False, True])
def test_the_nodes_give_what_the_file_gives(tmp_path, opset, function):
    model = file_of(model_of(opset, function=function))
    ItemIndex.of(np.arange(ITEMS - FIRST_ITEM)).save(tmp_path)
    retrieval = Retrieval(model, FEATURES, "item", np.zeros(ITEMS, np.float32), ITEMS - FIRST_ITEM)
    write_retrieval("onnx", retrieval, FEATURES, EXAMPLE, tmp_path, threads=1)
    none = np.zeros((2, 64), dtype=np.int64)
    for items in (EXAMPLE[0].numpy(), np.array([[3, 3, 3], [3, 0, 0]])):
        answer = open_step(tmp_path).run({"feature__0": items, "excluded__1": none, "allowed__2": none})
        scores = WEIGHT[items].sum(1) * (-1 if (items > 3).any() else 1) * (2 if function else 1)
        due = np.argsort(-scores[:, FIRST_ITEM:], axis=1) + FIRST_ITEM
        np.testing.assert_array_equal(answer[CODES], due)
        np.testing.assert_allclose(answer[SCORES], np.take_along_axis(scores, due, 1), rtol=1e-5)
    graph = onnx.load(str(tmp_path / "model.onnx"))
    assert {entry.domain: entry.version for entry in graph.opset_import} == {"": max(opset, OPSET)}
    names = [t.name for t in graph.graph.initializer]
    assert "file/weight" in names
    assert "file/unneeded" not in names


def test_an_opset_that_cannot_be_brought_to_ours_is_refused():
    tensor = helper.make_tensor_value_info
    node = helper.make_node("ImageDecoder", ["item"], ["scores"])
    graph = helper.make_graph(
        [node], "graph", [tensor("item", TensorProto.INT64, ["B", "T"])], [tensor("scores", TensorProto.FLOAT, None)]
    )

    class Unread:
        name = "later.onnx"

        def read(self):
            return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])

    with pytest.raises(UnsupportedModel) as caught:
        prepare(Unread())
    assert "later.onnx is written in opset 20, and onnx.version_converter cannot bring it to 18" in str(caught.value)
    assert "Export the model with opset 17 or 18" in str(caught.value)


def test_foreign_operators_are_refused():
    class Unread:
        name = "foreign.onnx"

        def read(self):
            model = model_of()
            model.graph.node[0].domain = "org.example"
            return model

    with pytest.raises(
        UnsupportedModel, match=r"foreign\.onnx has operators of org\.example, and a server has those of"
    ):
        prepare(Unread())
