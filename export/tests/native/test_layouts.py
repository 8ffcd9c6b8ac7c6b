"""Whole native bundles: what they hold, what they answer in this process, and that Triton would load them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from nextitem_bundle.runtime.step import open_step
from nextitem_export import ExportError
from nextitem_export.native.lint import check_model
from nextitem_export.wire import request_tensors

KINDS = {
    "ensemble": {},
    "torchscript": {"format": "torchscript"},
    "dynamo": {"format": "onnx_dynamo"},
    "fused": {"layout": "fused"},
}
BACKENDS = {
    "ensemble": {"_features": "onnxruntime", "_ranker": "onnxruntime", "_items": "onnxruntime"},
    "torchscript": {"_features": "onnxruntime", "_ranker": "pytorch", "_items": "onnxruntime"},
    "fused": {"": "onnxruntime"},
}
BACKENDS["dynamo"] = BACKENDS["ensemble"]


def config_of(bundle, model: str):
    text = (bundle.repository / model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, pb.ModelConfig())


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def native(kind, export_shop, sample):
    return export_shop(sample[sample.session_id < 3], runtime="native", **KINDS[kind])


def models(native, kind) -> list[str]:
    return [f"shop{suffix}" for suffix in BACKENDS[kind]]


def test_each_model_is_of_the_backend_that_opens_its_file(native, kind):
    for suffix, backend in BACKENDS[kind].items():
        assert config_of(native, f"shop{suffix}").backend == backend
        folder = native.repository / f"shop{suffix}" / "1"
        assert (folder / {"onnxruntime": "model.onnx", "pytorch": "model.pt"}[backend]).is_file()
        assert not (folder / "model.py").exists()
        check_model(native.repository / f"shop{suffix}", 1)


def test_threads_and_instances_are_counted_on_purpose(native, kind):
    for model in models(native, kind):
        config = config_of(native, model)
        assert [(group.kind, group.count) for group in config.instance_group] == [(pb.ModelInstanceGroup.KIND_CPU, 1)]
        threads = {key.lower(): value.string_value for key, value in config.parameters.items()}
        assert (threads["intra_op_thread_count"], threads["inter_op_thread_count"]) == ("1", "1")


def test_only_the_ranker_is_batched(native, kind):
    for model in models(native, kind):
        config = config_of(native, model)
        assert (config.max_batch_size > 0) == config.HasField("dynamic_batching") == model.endswith("_ranker")


def test_every_input_of_a_request_is_optional(native, kind):
    first = config_of(native, models(native, kind)[0])
    assert all(tensor.optional for tensor in first.input)
    assert {tensor.name for tensor in first.input} >= {"item_id", "session_length", "exclude_seen"}


def test_each_model_carries_the_runtime_and_bundle_json_its_checksums(native, kind):
    manifest = json.loads(native.manifest.read_text())
    assert manifest["runtime"] == "native"
    for model in models(native, kind):
        assert f"{model}/1/nextitem_runtime/graph_native.py" in manifest["sha256"]


def answer(bundle, sessions, raw_features, steps=("_features", "_ranker", "_items")):
    """What a bundle's steps answer, one after the other."""
    tensors = request_tensors(sessions, raw_features)
    if not (bundle.repository / "shop_features").exists():
        return open_step(bundle.repository / "shop" / "1").run(tensors)
    ranked = {"codes__0": "ranked_codes", "scores__1": "ranked_scores", "status__2": "ranked_status"}
    for step in steps:
        opened = open_step(bundle.repository / f"shop{step}" / "1")
        given = {name: values for name, values in tensors.items() if name in opened.inputs}
        tensors |= {ranked.get(name, name): values for name, values in opened.run(given).items()}
    return tensors


def test_a_native_bundle_answers_as_the_python_runtime_s(native, bundle, plan):
    due = answer(bundle, plan.sessions, plan.raw_features)
    found = answer(native, plan.sessions, plan.raw_features)
    np.testing.assert_array_equal(found["item_ids"], due["item_ids"])
    np.testing.assert_array_equal(found["status"], due["status"])
    np.testing.assert_allclose(found["scores"], due["scores"], rtol=1e-5)


def test_a_list_that_is_given_at_export_acts_in_both_runtimes(export_shop, sample, plan, tmp_path):
    barred = plan.vocabulary.values[:3].tolist()
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"unavailable": barred}))
    few = sample[sample.session_id < 2]
    for options in ({"runtime": "native"}, {"runtime": "native", "layout": "fused"}, {}):
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


def test_graphs_of_two_opsets_are_not_merged(export_shop, sample):
    with pytest.raises(
        ExportError, match=r"format 'onnx_dynamo' writes another opset.*ExportOptions\(layout='ensemble'\)"
    ):
        export_shop(sample[sample.session_id < 2], runtime="native", layout="fused", format="onnx_dynamo")
