from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2 as pb

from nextitem_bundle.config import StepConfig, TensorSpec, WarmUp
from nextitem_export.native.lint import ConfigurationError, check_model

GOOD = StepConfig(
    "step",
    (TensorSpec("codes", "INT64", (-1, 4)), TensorSpec("k", "INT32", (-1,), optional=True)),
    (TensorSpec("best", "INT64", (-1, 4)),),
    max_batch_size=0,
    backend="onnxruntime",
)
BATCHED = dataclasses.replace(
    GOOD,
    inputs=(TensorSpec("codes", "INT64", (4,)), TensorSpec("k", "INT32", ())),
    outputs=(TensorSpec("best", "INT64", (4,)),),
    max_batch_size=8,
)


def graph(*, rows: str | int = "B", opset: int = 17, ir_version: int = 8, domain: str = "") -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    made = helper.make_graph(
        [
            helper.make_node("Cast", ["k"], ["wide"], to=TensorProto.INT64),
            helper.make_node("Add", ["codes", "wide"], ["best"]),
        ],
        "g",
        [info("codes", TensorProto.INT64, [rows, 4]), info("k", TensorProto.INT32, ["N"])],
        [info("best", TensorProto.INT64, [rows, 4])],
        [numpy_helper.from_array(np.array([1], np.int32), "k")],
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(made, opset_imports=opsets)
    model.ir_version = ir_version
    return model


def fault(folder, config: StepConfig, model: onnx.ModelProto) -> str:
    (folder / "1").mkdir()
    config.write(folder)
    onnx.save(model, folder / "1" / "model.onnx")
    with pytest.raises(ConfigurationError) as found:
        check_model(folder, 1)
    return str(found.value)


@pytest.mark.parametrize("config", [GOOD, dataclasses.replace(GOOD, inputs=GOOD.inputs[:1])])
def test_a_configuration_that_fits_is_let_pass(tmp_path, config):
    (tmp_path / "1").mkdir()
    config.write(tmp_path)
    onnx.save(graph(), tmp_path / "1" / "model.onnx")
    check_model(tmp_path, 1)


INPUT, OPTION = GOOD.inputs
OUTPUT = GOOD.outputs[0]
#: What is changed in the configuration, and what the sentence must hold.
FAULTS = {
    "a name": ({"inputs": (INPUT, TensorSpec("top", "INT32", (-1,)))}, ["input 'top' is not among", "codes, k"]),
    "an output": ({"outputs": (TensorSpec("worst", "INT64", (-1, 4)),)}, ["output 'worst' is not among", "best"]),
    "a type": ({"inputs": (TensorSpec("codes", "INT32", (-1, 4)),)}, ["'codes' is INT32, the graph has INT64"]),
    "a string": ({"outputs": (TensorSpec("best", "BYTES", (-1, 4)),)}, ["'best' is BYTES, the graph has INT64"]),
    "a size": ({"inputs": (TensorSpec("codes", "INT64", (-1, 5)),)}, ["dims [-1, 5], the graph has [-1, 4]"]),
    "an open size": ({"inputs": (TensorSpec("codes", "INT64", (-1, -1)),)}, ["dims [-1, -1], the graph has [-1, 4]"]),
    "a rank": ({"inputs": (TensorSpec("codes", "INT64", (4,)),)}, ["dims [4], the graph has [-1, 4]"]),
    "no default": (
        {"inputs": (dataclasses.replace(INPUT, optional=True), OPTION)},
        ["'codes' is optional, but the graph has no initializer"],
    ),
    "a required input": ({"inputs": (OPTION,)}, ["takes an input 'codes', which the configuration lacks"]),
    "optional and batched": (
        {"inputs": (INPUT, dataclasses.replace(OPTION, dims=())), "max_batch_size": 8},
        ["'k' is optional, which takes max_batch_size 0; it is 8"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_does_not_fit_is_told(tmp_path, case):
    changes, parts = FAULTS[case]
    message = fault(tmp_path, dataclasses.replace(GOOD, **changes), graph())
    assert message.startswith(f"{tmp_path / 'config.pbtxt'} does not fit model.onnx: ")
    for part in parts:
        assert part in message


def test_a_batched_model_s_first_dimension_must_be_open(tmp_path):
    message = fault(tmp_path, BATCHED, graph(rows=1))
    assert "input 'codes' is batched up to 8, but the graph's first dimension is 1" in message
    assert "output 'best' is batched" in message


@pytest.mark.parametrize(
    ("versions", "part"),
    [
        ({"opset": 22}, "opset 22 of 'ai.onnx', expected 21 at most"),
        ({"ir_version": 11}, "IR version 11, expected 10 at most"),
        ({"domain": "com.microsoft"}, "the domain 'com.microsoft'"),
    ],
)
def test_versions_beyond_triton_s_are_told(tmp_path, versions, part):
    assert part in fault(tmp_path, GOOD, graph(**versions))


def rewritten(folder, old: str, new: str) -> str:
    GOOD.write(folder)
    path = folder / "config.pbtxt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    (folder / "1").mkdir()
    onnx.save(graph(), folder / "1" / "model.onnx")
    with pytest.raises(ConfigurationError) as found:
        check_model(folder, 1)
    return str(found.value)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("kind: KIND_CPU", "kind: KIND_MODEL", "KIND_MODEL, expected KIND_CPU"),
        ('name: "step"', 'name: "step" dynamic_batching { }', "dynamic_batching with max_batch_size 0"),
        ('backend: "onnxruntime"', 'backend: "python"', "names the backend 'python', expected onnxruntime or pytorch"),
        (
            'name: "step"',
            'name: "step" model_warmup { name: "w" batch_size: 1 inputs { key: "codes" value '
            "{ data_type: TYPE_INT64 dims: [1, 4] random_data: true } } }",
            "random_data",
        ),
    ],
)
def test_settings_that_fail_the_load_or_help_nobody_are_told(tmp_path, old, new, part):
    assert part in rewritten(tmp_path, old, new)


def test_instances_must_be_counted(tmp_path):
    GOOD.write(tmp_path)
    path = tmp_path / "config.pbtxt"
    config = text_format.Parse(path.read_text(), pb.ModelConfig())
    config.ClearField("instance_group")
    path.write_text(text_format.MessageToString(config))
    (tmp_path / "1").mkdir()
    onnx.save(graph(), tmp_path / "1" / "model.onnx")
    with pytest.raises(ConfigurationError, match="no instance_group, which gives 2 instances"):
        check_model(tmp_path, 1)


def test_a_model_that_is_not_there_is_told(tmp_path):
    GOOD.write(tmp_path)
    with pytest.raises(ConfigurationError, match=r"model\.onnx is missing"):
        check_model(tmp_path, 1)


class Two(torch.nn.Module):
    def forward(self, one: torch.Tensor, two: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return one + two, one - two


SCRIPTED = StepConfig(
    "step",
    (TensorSpec("codes__0", "INT64", (4,)), TensorSpec("price__1", "FP32", (4,))),
    (TensorSpec("sum__0", "FP32", (4,)), TensorSpec("rest__1", "FP32", (4,))),
    max_batch_size=8,
    backend="pytorch",
)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, None),
        ({"inputs": SCRIPTED.inputs[::-1]}, "input 'price__1' stands at 0, expected a name that ends in '__0'"),
        ({"inputs": (*SCRIPTED.inputs[:1], TensorSpec("price", "FP32", (4,)))}, "'price' stands at 1"),
        ({"outputs": SCRIPTED.outputs[:1]}, "1 outputs, the module has 2"),
        ({"inputs": SCRIPTED.inputs[:1]}, "1 inputs, the module has 2"),
        ({"inputs": (TensorSpec("ids__0", "BYTES", (4,)), SCRIPTED.inputs[1])}, "'ids__0' is BYTES"),
    ],
)
def test_names_of_the_pytorch_backend_say_their_place(tmp_path, changes, part):
    (tmp_path / "1").mkdir()
    dataclasses.replace(SCRIPTED, **changes).write(tmp_path)
    torch.jit.save(torch.jit.script(Two()), tmp_path / "1" / "model.pt")
    if part is None:
        check_model(tmp_path, 1)
        return
    with pytest.raises(ConfigurationError) as found:
        check_model(tmp_path, 1)
    assert part in str(found.value)


def test_all_faults_are_told_at_once(tmp_path):
    config = dataclasses.replace(GOOD, inputs=(TensorSpec("codes", "FP32", (-1, 5)),))
    message = fault(tmp_path, config, graph(opset=22))
    assert message.count(";") == 2


def test_warm_ups_of_the_exporter_are_no_random_data(tmp_path):
    warm_up = WarmUp("w", {"codes": np.ones((1, 4), np.int64)})
    (tmp_path / "1").mkdir()
    dataclasses.replace(GOOD, warm_ups=(warm_up,)).write(tmp_path)
    onnx.save(graph(), tmp_path / "1" / "model.onnx")
    check_model(tmp_path, 1)
