from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import deserialize_bytes_tensor, triton_to_np_dtype

from nextitem_bundle import runtime
from nextitem_bundle.runtime.queued import QueuedStep
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import read_step
from nextitem_bundle.runtime.triton.batching import BatchedStep
from nextitem_export.wire import request_tensors

STEPS = ("features", "retrieval", "items")


@pytest.fixture(scope="module", params=STEPS)
def step(request, bundle):
    folder = bundle.repository / f"shop_{request.param}"
    text = (folder / "config.pbtxt").read_text(encoding="utf-8")
    return folder, text_format.Parse(text, pb.ModelConfig()), open_step(folder / "1")


def _name(data_type: int) -> str:
    return pb.DataType.Name(data_type).removeprefix("TYPE_").replace("STRING", "BYTES")


def test_the_configuration_names_the_tensors_of_the_step(step):
    _, config, opened = step
    assert [tensor.name for tensor in config.input] == list(opened.inputs)
    assert [tensor.name for tensor in config.output] == list(opened.outputs)
    assert (config.max_batch_size > 0) == isinstance(opened, QueuedStep)


def test_the_warm_up_requests_are_answered_with_the_declared_types(step):
    folder, config, opened = step
    batched = config.max_batch_size > 0
    assert config.model_warmup
    for warm_up in config.model_warmup:
        tensors = {}
        for name, tensor in warm_up.inputs.items():
            raw = (folder / "warmup" / tensor.input_data_file).read_bytes()
            kind = _name(tensor.data_type)
            values = deserialize_bytes_tensor(raw) if kind == "BYTES" else np.frombuffer(raw, triton_to_np_dtype(kind))
            values = values.reshape(tensor.dims)
            tensors[name] = np.repeat(values[None], warm_up.batch_size, axis=0) if batched else values
        answer = opened.run(tensors)
        for tensor in config.output:
            assert answer[tensor.name].dtype == np.dtype(triton_to_np_dtype(_name(tensor.data_type))), tensor.name
            dims = [warm_up.batch_size, *tensor.dims] if batched else list(tensor.dims)
            shape = answer[tensor.name].shape
            assert all(size in (-1, found) for size, found in zip(dims, shape, strict=True)), tensor.name


def test_the_retrieval_step_is_warmed_up_with_one_session_and_with_a_full_batch(bundle):
    text = (bundle.repository / "shop_retrieval" / "config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, pb.ModelConfig())
    assert [warm_up.batch_size for warm_up in config.model_warmup] == [1, 64]


def test_the_ensemble_joins_tensors_of_the_same_type(bundle):
    configs = {
        name: text_format.Parse(
            (bundle.repository / name / "config.pbtxt").read_text(encoding="utf-8"), pb.ModelConfig()
        )
        for name in ("shop", *(f"shop_{step}" for step in STEPS))
    }
    ensemble = configs["shop"]
    known = {tensor.name: tensor.data_type for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        inputs = {tensor.name: tensor for tensor in configs[step.model_name].input}
        outputs = {tensor.name: tensor for tensor in configs[step.model_name].output}
        assert set(step.input_map) == set(inputs)
        assert set(step.output_map) == set(outputs)
        for name, tensor in step.input_map.items():
            assert known[tensor] == inputs[name].data_type, name
        for name, tensor in step.output_map.items():
            assert tensor not in known
            known[tensor] = outputs[name].data_type
    for tensor in ensemble.output:
        assert known[tensor.name] == tensor.data_type


def test_each_version_folder_has_the_runtime_s_source_and_a_model_that_imports_it(step):
    version = step[0] / "1"
    source = Path(runtime.__file__).parent
    copied = {
        str(p.relative_to(version / "nextitem_runtime")): p.read_bytes()
        for p in version.rglob("*.py")
        if p != version / "model.py"
    }
    assert copied == {str(p.relative_to(source)): p.read_bytes() for p in source.rglob("*.py")}
    tree = ast.parse((version / "model.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {"pathlib", "nextitem_runtime.triton.model"}
    assert '"shop"' in (ast.get_docstring(tree) or "")
    assert not list(version.rglob("*.pyc"))


def test_the_retrieval_step_has_a_queue_and_joins_what_fits_together(bundle, plan):
    features, retrieval = (open_step(bundle.repository / f"shop_{name}" / "1") for name in STEPS[:2])
    assert isinstance(retrieval, BatchedStep)
    queue = read_step(bundle.repository / "shop_retrieval" / "1").queue
    assert (queue.max_queue_size, queue.max_queue_ms, queue.warm_ups) == (256, 20.0, 65)
    encoded = [features.run(request_tensors([session], plan.raw_features)) for session in plan.sessions[:6]]
    (excluded, _) = read_step(bundle.repository / "shop_features" / "1").filters
    for row in (1, 4):  # as with a list of more than 64 items
        encoded[row][excluded] = np.pad(encoded[row][excluded], ((0, 0), (0, 960)))
    asked = [{name: one[name] for name in retrieval.inputs} for one in encoded]
    assert len({tuple(values.shape for values in tensors.values()) for tensors in asked}) == 2
    for together, tensors in zip(retrieval.run_all(asked), asked, strict=True):
        alone = retrieval.run(tensors)
        assert isinstance(together, dict)
        assert list(together) == list(retrieval.outputs)
        for name, values in alone.items():
            np.testing.assert_allclose(together[name], values, rtol=1e-5, err_msg=name)
