from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export import UnsupportedModel
from nextitem_export.retrieval.formats import FORMATS, write_retrieval
from nextitem_export.retrieval.module import ModelFeature, Retrieval
from nextitem_export.retrieval.tensors import OUTPUTS
from nextitem_export.workflow.graph_builder import IR_VERSION, OPSET

ITEMS = 5000
FEATURES = (ModelFeature("item", "feature__0", "int64"),)
EXAMPLE = (torch.tensor([[3, 4, 0], [5, 0, 0]]),)


class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(ITEMS, 8)

    def query(self, features):
        return self.items(features["item"]).mean(1)

    def item_table(self):
        return self.items.weight


def retrieval(model: nn.Module) -> Retrieval:
    popularity = np.zeros(ITEMS, np.float32)
    popularity[:3] = LOWEST_FLOAT32
    return Retrieval(model, FEATURES, "item", popularity, 7)


def write(format_name: str, model: nn.Module, folder: Path, threads: int = 1) -> Path:
    ItemIndex.of(np.arange(ITEMS - FIRST_ITEM)).save(folder)
    write_retrieval(format_name, retrieval(model), FEATURES, EXAMPLE, folder, threads=threads)
    return folder


def free(items: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of sessions without filters."""
    none = np.zeros((len(items), 64), dtype=np.int64)
    return {"feature__0": items, "excluded__1": none, "allowed__2": none}


def eager(model: nn.Module, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tensors = [torch.from_numpy(values) for values in free(items).values()]
    with torch.no_grad():
        return retrieval(model).eval()(*tensors, torch.ones(ITEMS, dtype=torch.bool))


@pytest.fixture(scope="module", params=list(FORMATS))
def written(request, tmp_path_factory):
    return request.param, write(request.param, Mean(), tmp_path_factory.mktemp(request.param), threads=2)


def test_a_written_retrieval_answers_batches_of_any_size_as_the_eager_one(written):
    step = open_step(written[1])
    assert step.inputs == ("feature__0", "excluded__1", "allowed__2")
    assert step.outputs == OUTPUTS
    for size in (1, 2, 64):
        items = np.random.default_rng(size).integers(0, ITEMS, (size, 3))
        answer = step.run(free(items))
        codes, scores, status = eager(Mean(), items)
        np.testing.assert_array_equal(answer["codes__0"], codes)
        np.testing.assert_allclose(answer["scores__1"], scores, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(answer["status__2"], status)


def test_step_json_says_threads_and_that_requests_may_be_joined(written):
    settings = json.loads((written[1] / "step.json").read_text())
    assert settings["kind"] == "retrieval"
    kind = "torchscript" if written[0] == "torchscript" else "onnx"
    assert settings["graph"]["kind"] == kind
    more = [] if kind == "torchscript" else ["available__3_limited", "top_k_checked"]
    assert list(settings["ranking"]["constants"]) == ["available__3", *more]
    assert settings["graph"]["threads"] == 2


def test_the_item_table_is_stored_once(written):
    (graph,) = written[1].glob("model.*")
    table = ITEMS * 8 * 4
    assert table < graph.stat().st_size < 1.6 * table


def test_dropout_is_off_in_the_graph(tmp_path):
    class Dropping(Mean):
        def query(self, features):
            return nn.functional.dropout(super().query(features), 0.9, self.training)

    for format_name in FORMATS:
        folder = tmp_path / format_name
        folder.mkdir()
        write(format_name, Dropping().train(), folder)
        answer = open_step(folder).run(free(EXAMPLE[0].numpy()))
        _, scores, _ = eager(Mean(), EXAMPLE[0].numpy())
        np.testing.assert_allclose(answer["scores__1"], scores, rtol=1e-5)


@pytest.mark.parametrize(("format_name", "opset", "ir"), [("onnx", OPSET, IR_VERSION), ("onnx_dynamo", 18, 10)])
def test_the_onnx_graph_is_of_a_version_that_triton_reads(format_name, opset, ir, tmp_path):
    write(format_name, Mean(), tmp_path)
    graph = onnx.load(str(tmp_path / "model.onnx"))
    assert graph.ir_version <= ir
    assert {opset.domain: opset.version for opset in graph.opset_import} == {"": opset}


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UnsupportedModel, match="unknown format 'gguf', known are onnx, onnx_dynamo, torchscript"):
        write("gguf", Mean(), tmp_path)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_model_that_cannot_be_traced_is_refused_with_the_reason(format_name, tmp_path):
    class Broken(Mean):
        def query(self, features):
            raise NotImplementedError("needs a GPU")

    with pytest.raises(UnsupportedModel) as caught:
        write(format_name, Broken(), tmp_path)
    assert str(caught.value) == f"Broken cannot be exported to {format_name}: NotImplementedError: needs a GPU"


@pytest.mark.parametrize("format_name", ["onnx", "torchscript"])
def test_a_model_bound_to_the_batch_of_the_trace_is_refused_with_the_remedy(format_name, tmp_path):
    class Bound(Mean):
        def query(self, features):
            codes = features["item"]
            return self.items(codes)[torch.arange(len(codes)), 0]

    with pytest.raises(
        UnsupportedModel, match=r"^the graph of Bound is bound to the two sessions .* tensor\.shape\[0\]"
    ):
        write(format_name, Bound(), tmp_path)


def test_a_graph_that_does_not_run_at_all_is_not_blamed_on_the_batch(tmp_path):
    class Double(Mean):
        """ONNX Runtime has no GRU in float64."""

        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(8, 8, batch_first=True)

        def query(self, features):
            weights = [weight.double() for weight in self.gru.parameters()]
            steps = self.items(features["item"]).double()
            state = steps[:, 0].unsqueeze(0) * 0
            return torch.gru(steps, state, weights, True, 1, 0.0, False, False, True)[0][:, -1].float()

    with pytest.raises(UnsupportedModel) as caught:
        write("onnx", Double(), tmp_path)
    assert str(caught.value).startswith("the onnx graph of Double does not run: ")
    assert "GRU operator does not support double" in str(caught.value)
    assert str(caught.value).endswith("Try another format: onnx, onnx_dynamo, torchscript")


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_graph_holds_no_path_of_the_machine(format_name, tmp_path):
    write(format_name, Mean(), tmp_path)
    (graph,) = tmp_path.glob("model.*")
    parts = [graph.read_bytes()]
    if zipfile.is_zipfile(graph):
        with zipfile.ZipFile(graph) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    assert not any(str(Path(__file__).parents[3]).encode() in part for part in parts)


class Warns(Mean):
    def query(self, features):
        warnings.warn("the model's own", UserWarning, stacklevel=1)
        if features["item"].shape[1] == features["item"].max():  # what torch's tracers warn of
            return self.items(features["item"]).sum(1)
        return super().query(features)


@pytest.mark.parametrize("format_name", ["onnx", "torchscript"])
def test_what_the_model_says_is_heard_and_what_tracers_say_of_every_model_is_not(format_name, tmp_path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        write(format_name, Warns(), tmp_path)
    heard = {str(one.message) for one in said if not issubclass(one.category, DeprecationWarning)}
    assert heard == {"the model's own"}
