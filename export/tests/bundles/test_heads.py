"""Bundles of a model with further heads: every layout and runtime gives them as outputs, and the gate judges them."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import text_format
from onnx import numpy_helper
from rich.console import Console
from tritonclient.grpc import model_config_pb2 as pb

from nextitem_bundle.runtime.signature import Head, Signature
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export import ExportOptions, ParityError, UnsupportedModel, export_bundle
from nextitem_export.parity.cases import Case
from nextitem_export.parity.compare import HEAD_RELATIVE, head_difference
from nextitem_export.parity.reference import eager_scores
from nextitem_export.report import parity_table
from nextitem_export.wire import request_tensors

HEADS = {"is_buy": 1, "style": 3}
KINDS = {
    "ensemble": {},
    "fused": {"layout": "fused"},
    "fused torchscript": {"layout": "fused", "format": "torchscript"},
    "native": {"runtime": "native"},
    "native torchscript": {"runtime": "native", "format": "torchscript"},
    "nvtabular": {"features": "nvtabular", "format": "onnx_dynamo"},
}
SLOW = ("native torchscript", "nvtabular")


@pytest.fixture(scope="module")
def predicting(shop, workflow):
    class WithHeads(shop.TinyModel):
        def __init__(self, items: int, categories: int) -> None:
            super().__init__(items, categories)
            self.head_widths = HEADS
            self.is_buy, self.style = torch.nn.Linear(8, 1), torch.nn.Linear(8, 3)

        def query_and_heads(self, features):
            query = self.query(features)
            return query, {"is_buy": torch.sigmoid(self.is_buy(query)), "style": 100 * self.style(query)}

    plain = shop.model_for(workflow)
    return WithHeads(plain.items.num_embeddings, plain.categories.num_embeddings).eval()


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in KINDS]
)
def exported(request, predicting, workflow, sample, tmp_path_factory):
    return export_bundle(
        predicting,
        workflow,
        sample[sample.session_id < 3],
        repository=tmp_path_factory.mktemp("exported") / "repository",
        name="shop",
        tie_breaker_column="position",
        options=ExportOptions(**KINDS[request.param]),
    )


def config_of(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), pb.ModelConfig())


def answered(bundle, request):
    """What a bundle answers in this process, by its configuration, as Triton goes by it."""
    config = config_of(bundle.repository / "shop")
    if not config.HasField("ensemble_scheduling"):
        return open_step(bundle.repository / "shop" / "1").run(request)
    tensors = dict(request)
    for step in config.ensemble_scheduling.step:
        opened = open_step(bundle.repository / step.model_name / "1")
        found = opened.run({own: tensors[name] for own, name in step.input_map.items() if name in tensors})
        tensors |= {name: found[own] for own, name in step.output_map.items()}
    return tensors


def true_heads(shop, plan, model, sessions):
    """The eager model's, on what NVTabular makes of the sessions."""
    encoded = shop.reference_of(dataclasses.replace(plan, model=model)).encode(sessions).encoded
    assert len(encoded) == len(sessions)
    tensors = {}
    for feature in plan.features:
        rows = [
            np.pad(one[feature.name], (0, plan.signature.window - len(one[feature.name]))) for one in encoded.values()
        ]
        tensors[feature.name] = torch.from_numpy(np.stack(rows).astype(feature.dtype))
    with torch.no_grad():
        query, heads = model.query_and_heads(tensors)
        np.testing.assert_allclose(query @ model.item_table().T, eager_scores(model, tensors), rtol=1e-6)
    return {name: value.numpy() for name, value in heads.items()}


def test_an_answer_holds_the_heads_whatever_its_k(shop, exported, plan, predicting):
    sessions = [session for session in plan.sessions if len(session)][:5]
    true = true_heads(shop, plan, predicting, sessions)
    request = request_tensors(sessions, plan.raw_features)
    for k in (1, 5):
        answer = answered(exported, request | {"top_k": np.full((len(sessions), 1), k, np.int32)})
        assert answer["item_ids"].shape == (len(sessions), k)
        for name, width in HEADS.items():
            assert answer[name].shape == (len(sessions), width)
            np.testing.assert_allclose(answer[name], true[name], rtol=1e-5, atol=1e-4)
    alone = answered(exported, request_tensors(sessions[3:4], plan.raw_features))
    np.testing.assert_allclose(alone["style"][0], true["style"][3], rtol=1e-5, atol=1e-4)


def test_cold_and_empty_sessions_have_null(exported, plan):
    session = plan.sessions[0]
    batch = [session.assign(item_id="never seen"), session.iloc[:0], session]
    answer = answered(exported, request_tensors(batch, plan.raw_features))
    assert [one if isinstance(one, str) else one.decode() for one in answer["status"][:, 0]] == ["cold", "empty", "ok"]
    for name in HEADS:
        assert (answer[name][:2] == np.float32(LOWEST_FLOAT32)).all()
        assert (answer[name][2] > -1e6).all()


def test_configuration_signature_and_manifest_name_the_heads(exported):
    config = config_of(exported.repository / "shop")
    dims = {tensor.name: list(tensor.dims) for tensor in config.output}
    batched = config.max_batch_size > 0
    assert list(dims) == ["item_ids", "scores", "status", *HEADS]
    assert [dims[name] for name in HEADS] == [[width] if batched else [-1, width] for width in HEADS.values()]
    document = json.loads(config.parameters["nextitem.signature"].string_value)
    assert Signature.from_json(document).heads == tuple(Head(*head) for head in HEADS.items())
    del document["heads"]
    assert Signature.from_json(document).heads == ()  # a bundle from before further heads
    manifest = json.loads(exported.manifest.read_text())
    assert manifest["response"]["style"] == {"datatype": "FP32", "shape": ["B", 3]}
    differences = [row["head_difference"] for row in manifest["parity"]]
    assert all(difference is not None for difference in differences)
    assert max(differences) < 1e-4
    output = io.StringIO()
    Console(file=output, width=200).print(parity_table(exported.parity))
    assert "heads, largest diff." in output.getvalue()


@pytest.mark.parametrize(
    "name", ["price", "item_id", "top_k", "scores", "status", "top_k_checked", "codes__0", "feature__0", "head__9"]
)
def test_a_head_with_another_tensor_s_name_is_refused(shop, workflow, sample, predicting, name):
    renamed = copy.deepcopy(predicting)
    renamed.head_widths = {name: 1}
    with pytest.raises(UnsupportedModel, match=rf"the model's heads {name} have names .*: give the heads other names"):
        shop.plan_of(workflow, sample, renamed)


@pytest.fixture(scope="module")
def with_heads(shop, workflow, sample, predicting):
    return shop.plan_of(workflow, sample, predicting)


@pytest.fixture(scope="module")
def built(shop, with_heads, tmp_path_factory):
    return shop.steps_of(with_heads, tmp_path_factory.mktemp("steps"))


@pytest.fixture
def tampered(built, tmp_path):
    copies = tuple(tmp_path / folder.parent.name for folder in built)
    for folder, target in zip(built, copies, strict=True):
        shutil.copytree(folder, target)
    return copies


def fault(shop, plan, folders) -> str:
    with pytest.raises(ParityError) as caught:
        shop.gate_of(plan, folders).check([Case("the sample", plan.sessions, 5)])
    return str(caught.value)


def test_the_gate_catches_a_head_that_answers_otherwise(shop, with_heads, tampered):
    graph = onnx.load(str(tampered[1] / "model.onnx"))
    (bias,) = [tensor for tensor in graph.graph.initializer if tensor.name.endswith("style.bias")]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0, 0.01, 0]), bias.name))
    onnx.save(graph, str(tampered[1] / "model.onnx"))
    message = fault(shop, with_heads, tampered)
    assert message.startswith("head 'style' of session 0 in case 'the sample': value 1 is ")


def test_the_gate_refuses_heads_that_are_no_numbers(shop, workflow, sample, predicting, tmp_path):
    class Broken(type(predicting)):
        def query_and_heads(self, features):
            query, heads = super().query_and_heads(features)
            return query, {**heads, "is_buy": heads["is_buy"] * torch.nan}

    broken = Broken(predicting.items.num_embeddings, predicting.categories.num_embeddings)
    plan = shop.plan_of(workflow, sample, broken)
    message = fault(shop, plan, shop.steps_of(plan, tmp_path))
    assert message.startswith("head 'is_buy' of session 0")
    assert "the eager model gives [nan]: let it give finite numbers" in message


def test_heads_may_differ_by_their_last_bits_and_nulls_not_at_all():
    lowest = np.float32(LOWEST_FLOAT32)
    true = np.array([1e6, 0.5, lowest], dtype=np.float32)
    worst, said = head_difference(true, true * np.float32([1 + 0.5 * HEAD_RELATIVE, 1, 1]))
    assert said is None
    assert 0 < worst < HEAD_RELATIVE
    assert head_difference(true, np.array([1e6, 0.6, lowest], np.float32))[1] == "value 1 is 0.60000002, expected 0.5"
    assert "value 2 is 0, expected -3.4028235e+38" in head_difference(true, np.array([1e6, 0.5, 0], np.float32))[1]
    assert "value 1 is nan" in head_difference(true, np.array([1e6, np.nan, lowest], np.float32))[1]
    assert head_difference(true, true[:2])[1] == "[2] values came, expected [3]"
