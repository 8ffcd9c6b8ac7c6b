from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nextitem_export import UnsupportedModel
from nextitem_export.model_files.onnx_file import OnnxFile, OnnxScores

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def model_of(*, kind=INT64, shape=("B", "T"), result=FLOAT, outputs=1) -> onnx.ModelProto:
    """Casts its input to the result's type."""
    nodes = [helper.make_node("Cast", ["codes"], [f"result_{place}"], to=result) for place in range(outputs)]
    tensor = helper.make_tensor_value_info
    results = [tensor(f"result_{place}", result, list(shape)) for place in range(outputs)]
    graph = helper.make_graph(nodes, "graph", [tensor("codes", kind, list(shape))], results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def refusal(model, inputs=None, output=None) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        OnnxFile(model, inputs or {}, output)
    return str(caught.value)


@pytest.mark.parametrize("kind", [INT64, TensorProto.INT32, FLOAT, TensorProto.DOUBLE])
def test_features_are_read_in_the_types_of_the_inputs(kind):
    file = OnnxFile(model_of(kind=kind), {"codes": "item"}, None)
    given = file.run({"item": np.array([[3, 4]]), "other": np.array([[0, 0]])})
    assert given.dtype == np.float32
    assert given.tolist() == [[3, 4]]
    assert copy.deepcopy(OnnxScores(file)).feature_names == ("item",)


def test_a_file_is_opened_by_its_path(tmp_path):
    onnx.save(model_of(), str(tmp_path / "model.onnx"))
    file = OnnxFile(tmp_path / "model.onnx", {}, None)
    assert (file.name, file.output, file.read().graph.name) == ("model.onnx", "result_0", "graph")
    (tmp_path / "text.onnx").write_text("no model")
    assert refusal(tmp_path / "text.onnx").startswith("ONNX Runtime cannot load text.onnx: ")


def test_names_of_tensorflow_lose_the_number_of_their_tensor():
    model = model_of()
    model.graph.input[0].name = model.graph.node[0].input[0] = "codes:0"
    assert OnnxFile(model, {}, None).inputs[0].feature == "codes"


def test_one_of_several_outputs_is_named():
    assert OnnxFile(model_of(outputs=2), {}, "result_1").output == "result_1"
    assert "has 2 outputs (result_0, result_1): say which has the scores" in refusal(model_of(outputs=2))
    assert "ModelProto has no output 'scores', it has result_0" in refusal(model_of(), output="scores")


@pytest.mark.parametrize(
    ("model", "inputs", "part"),
    [
        (
            model_of(kind=TensorProto.UINT8),
            {},
            "'codes' of ModelProto is tensor(uint8), expected tensor(int64), tensor(",
        ),
        (model_of(shape=(1, 20)), {}, "'codes' of ModelProto has the shape [1, 20], expected [B, T] with a free B"),
        (model_of(shape=("B", "T", 1)), {}, "has the shape ['B', 'T', 1], expected [B, T]"),
        (model_of(result=INT64), {}, "the output 'result_0' of ModelProto is tensor(int64), expected floats"),
        (model_of(), {"price": "price-list"}, "inputs names price, and the inputs of ModelProto are codes: name these"),
    ],
)
def test_what_is_no_session_model_is_refused(model, inputs, part):
    assert part in refusal(model, inputs)


def test_another_window_is_refused():
    file = OnnxFile(model_of(shape=("B", 3)), {}, None)
    with pytest.raises(UnsupportedModel, match="'codes' of ModelProto is 3 wide, and the window is 2"):
        file.run({"codes": np.array([[3, 4]])})


def test_a_proto_without_its_weights_is_refused(tmp_path):
    model = model_of()
    weight = TensorProto(name="weight", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.initializer.append(weight)
    assert "the ModelProto has weights in other files" in refusal(model)
