"""Whole native bundles: what they hold, what they answer in this process, and that Triton would load them."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import text_format
from onnx import TensorProto
from tritonclient.grpc import model_config_pb2 as pb

from export.tests.support.formats import EACH_FORMAT
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export import ExportError
from nextitem_export.wire import request_tensors

BACKENDS = {"onnx": "onnxruntime", "onnx_dynamo": "onnxruntime", "torchscript": "pytorch"}
FILES = {"onnxruntime": "model.onnx", "pytorch": "model.pt"}
AROUND = ("shop_features", "shop_items")
#: What ONNX Runtime 1.19.2 reads at most, that of Triton 24.10.
MAX_OPSET, MAX_IR_VERSION = 21, 10
DATATYPES = {
    TensorProto.INT64: pb.TYPE_INT64,
    TensorProto.INT32: pb.TYPE_INT32,
    TensorProto.FLOAT: pb.TYPE_FP32,
}


def config_of(bundle, model: str):
    text = (bundle.repository / model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, pb.ModelConfig())


@pytest.fixture(scope="module", params=EACH_FORMAT)
def format_(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def native(format_, export_shop, sample):
    return export_shop(sample[sample.session_id < 3], runtime="native", format=format_)


def test_the_retrieval_step_alone_is_of_a_backend_of_triton_s_own(native, format_):
    assert config_of(native, "shop_retrieval").backend == BACKENDS[format_]
    folder = native.repository / "shop_retrieval" / "1"
    assert (folder / FILES[BACKENDS[format_]]).is_file()
    assert not (folder / "model.py").exists()
    for model in AROUND:
        assert config_of(native, model).backend == "python"
        assert (native.repository / model / "1" / "model.py").is_file()


def test_the_steps_around_it_are_configured_as_with_the_python_runtime(native, bundle):
    for model in (*AROUND, "shop"):
        own, due = (config_of(one, model) for one in (native, bundle))
        assert own == due


def test_the_retrieval_step_is_configured_as_with_the_python_runtime_but_for_its_backend_and_queue(native, bundle):
    own, due = (config_of(one, "shop_retrieval") for one in (native, bundle))
    assert (own.max_batch_size, list(own.dynamic_batching.preferred_batch_size)) == (64, [32])
    assert (due.max_batch_size, list(due.dynamic_batching.preferred_batch_size)) == (2**20, [])
    for tensor in due.input:
        assert tensor.allow_ragged_batch == (tensor.dims == [-1])
        tensor.allow_ragged_batch = False
    for name in ("input", "output", "version_policy", "instance_group"):
        assert getattr(own, name) == getattr(due, name), name
    assert [(group.kind, group.count) for group in own.instance_group] == [(pb.ModelInstanceGroup.KIND_CPU, 1)]
    threads = {key.lower(): value.string_value for key, value in own.parameters.items()}
    assert threads == {"intra_op_thread_count": "1", "inter_op_thread_count": "1"}


def test_the_retrieval_step_s_configuration_fits_its_graph(native, format_):
    config = config_of(native, "shop_retrieval")
    file = native.repository / "shop_retrieval" / "1" / FILES[config.backend]
    if config.backend == "pytorch":  # which takes tensors by the number in their names
        schema = torch.jit.load(str(file)).forward.schema
        numbers = [[name.rpartition("__")[2] for name in names] for names in _names(config)]
        assert numbers[0] == [str(place) for place in range(len(schema.arguments) - 1)]
        assert numbers[1] == [str(place) for place in range(len(schema.returns[0].type.elements()))]
        return
    model = onnx.load(file, load_external_data=False)
    assert model.ir_version <= MAX_IR_VERSION
    assert all(opset.domain == "" and opset.version <= MAX_OPSET for opset in model.opset_import)
    defaults = {tensor.name for tensor in model.graph.initializer}
    given = [info for info in model.graph.input if info.name not in defaults]
    for specs, infos in ((config.input, given), (config.output, model.graph.output)):
        assert {spec.name for spec in specs} == {info.name for info in infos}
        by_name = {info.name: info.type.tensor_type for info in infos}
        for spec in specs:
            kind = by_name[spec.name]
            assert spec.data_type == DATATYPES[kind.elem_type]
            first, *dims = kind.shape.dim
            assert not first.HasField("dim_value")  # Triton batches
            fixed = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
            assert len(fixed) == len(spec.dims)
            assert all(size in (None, own) for size, own in zip(fixed, spec.dims, strict=True))


def _names(config) -> list[list[str]]:
    return [[spec.name for spec in specs] for specs in (config.input, config.output)]


def test_each_model_carries_the_runtime_and_bundle_json_its_checksums(native):
    manifest = json.loads(native.manifest.read_text())
    assert manifest["runtime"] == "native"
    for step in ("features", "retrieval", "items"):
        assert f"shop_{step}/1/nextitem_runtime/step.py" in manifest["sha256"]


def opened(bundle):
    return [open_step(bundle.repository / f"shop_{step}" / "1") for step in ("features", "retrieval", "items")]


def answer(bundle, sessions, raw_features, **options):
    """What a bundle's steps answer, one after the other."""
    features, retrieval, items = opened(bundle)
    encoded = features.run({**request_tensors(sessions, raw_features), **options})
    ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
    return items.run(dict(zip(items.inputs, [*ranked.values(), encoded["top_k_checked"]], strict=True)))


def assert_same(found, due):
    np.testing.assert_array_equal(found["item_ids"], due["item_ids"])
    np.testing.assert_array_equal(found["status"], due["status"])
    np.testing.assert_allclose(found["scores"], due["scores"], rtol=1e-5)


def test_a_native_bundle_answers_as_the_python_runtime_s(native, bundle, plan):
    assert_same(*(answer(one, plan.sessions, plan.raw_features) for one in (native, bundle)))


def test_filters_act_as_with_the_python_runtime(native, bundle, plan):
    ids, rows = plan.vocabulary.values, len(plan.sessions)
    filters = (
        {"exclude_item_ids": np.tile(ids[:3], (rows, 1))},
        {"allow_item_ids": np.tile(np.array([*ids[2:4], "never seen"], dtype=object), (rows, 1))},
        {"exclude_seen": np.ones((rows, 1), dtype=bool)},
    )
    for options in filters:
        found, due = (answer(one, plan.sessions, plan.raw_features, **options) for one in (native, bundle))
        assert_same(found, due)
        if "allow_item_ids" in options:
            assert set(found["item_ids"].ravel()) <= {*ids[2:4], ""}
            assert (found["scores"] == np.float32(LOWEST_FLOAT32)).any()
        if "exclude_item_ids" in options:
            assert not np.isin(found["item_ids"].astype(str), ids[:3].astype(str)).any()


def test_a_list_that_is_given_at_export_acts_in_both_runtimes(export_shop, sample, plan, tmp_path):
    barred = plan.vocabulary.values[:3].tolist()
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"unavailable": barred}))
    few = sample[sample.session_id < 2]
    for options in ({"runtime": "native"}, {}):
        made = export_shop(few, availability=str(path), **options)
        items = answer(made, plan.sessions, plan.raw_features)["item_ids"]
        assert not np.isin(items.astype(str), barred).any()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "is not there"),
        ("{", "is no JSON"),
        ('{"hidden": []}', "one of them alone"),
        ('{"available": [1]}', "lists 1"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(export_shop, sample, tmp_path, text, part):
    path = tmp_path / "list.json"
    if text:
        path.write_text(text)
    with pytest.raises(ExportError) as caught:
        export_shop(sample[sample.session_id < 2], availability=str(path))
    assert part in str(caught.value)


def test_the_workflow_itself_may_stand_in_front_of_a_native_retrieval(export_shop, sample, plan, bundle):
    made = export_shop(sample[sample.session_id < 2], runtime="native", features="nvtabular")
    assert_same(*(answer(one, plan.sessions, plan.raw_features) for one in (made, bundle)))
