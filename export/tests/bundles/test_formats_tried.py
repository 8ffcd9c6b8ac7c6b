"""An export that chooses its format: what the older ONNX exporter refuses goes by the other, and one refusal lists all."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from nextitem_export import (
    ExportError,
    ExportOptions,
    ParityError,
    UnsupportedModel,
    UnsupportedWorkflow,
    export_bundle,
)

WINDOW = 4


class Gpt2(nn.Module):
    """Hugging Face's causal language model over item codes: the older exporter fails on its mask."""

    feature_names = ("item_id-list",)

    def __init__(self, items: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=items, n_positions=WINDOW, n_embd=16, n_layer=1, n_head=2, initializer_range=0.2)
        self.model = GPT2LMHeadModel(config)

    def forward(self, features):
        codes = features["item_id-list"]
        mask = codes != 0
        logits = self.model(input_ids=codes, attention_mask=mask.long()).logits
        last = (mask.sum(dim=1) - 1).clamp(min=0)
        return logits.gather(1, last[:, None, None].expand(-1, 1, logits.shape[2])).squeeze(1)


class Encoder(nn.Module):
    """torch's own encoder, whose fast path no exporter knows."""

    feature_names = ("item_id-list",)

    def __init__(self, items: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(items, 16)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)

    def query(self, features):
        codes = features["item_id-list"]
        padding = codes == 0
        # A session without an interaction looks at its padding.
        padding = padding & ~padding.all(dim=1, keepdim=True)
        return self.body(self.items(codes), src_key_padding_mask=padding)[:, 0]

    def item_table(self):
        return self.items.weight


class Bessel(Encoder):
    """An operator that ONNX has not."""

    def query(self, features):
        return torch.special.bessel_j0(self.items(features["item_id-list"])).sum(1)


class Forgetful(Encoder):
    """Older exporters follow one side of a Python branch, torch.export refuses it."""

    def query(self, features):
        codes = features["item_id-list"]
        odd = bool((codes != 0).sum() % 2)
        return self.items(codes).sum(1) * (2 if odd else 3)


class NotANumber(Encoder):
    """Whose scores are wrong in any format."""

    def query(self, features):
        return self.items(features["item_id-list"]).sum(1) * float("nan")


@pytest.fixture(scope="module")
def few(sample):
    return sample[sample["session_id"] < 3]


@pytest.fixture
def export(workflow, few, model, tmp_path):
    """Exports into `tmp_path / "repository"`; what was said is in `export.said`."""

    def export(kind, **options):
        export.said = []
        items = len(model.item_table())
        return export_bundle(
            kind(items) if isinstance(kind, type) else kind,
            workflow,
            few,
            repository=tmp_path / "repository",
            name="shop",
            tie_breaker_column="position",
            options=ExportOptions(**options),
            progress=export.said.append,
        )

    return export


def document(bundle):
    return json.loads(bundle.manifest.read_text(encoding="utf-8"))


def test_what_the_older_exporter_refuses_goes_by_the_other_and_the_next_version_tries_that_first(export):
    first = export(Gpt2)
    assert first.format == document(first)["format"] == "onnx_dynamo"
    assert list(first.fell_out) == ["onnx"]
    assert document(first)["fell_out"] == first.fell_out
    (line,) = [line for line in export.said if line.startswith("tracing Gpt2 to onnx_dynamo")]
    assert line == f"tracing Gpt2 to onnx_dynamo, since onnx fell out: {first.fell_out['onnx']}"
    second = export(Gpt2)
    assert second.version == 2
    assert (second.format, second.fell_out) == ("onnx_dynamo", {})
    assert "tracing Gpt2 to onnx_dynamo" in export.said


@pytest.mark.parametrize("format_name", ["onnx", "torchscript", pytest.param("onnx_dynamo", marks=pytest.mark.slow)])
def test_attention_s_fast_path_is_off_while_a_graph_is_made_and_on_again_after(export, format_name):
    assert torch.backends.mha.get_fastpath_enabled()
    bundle = export(Encoder, format=format_name)
    assert (bundle.format, bundle.fell_out) == (format_name, {})
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_fast_path_is_on_again_after_a_refusal(export):
    with pytest.raises(ExportError):
        export(Forgetful, format="onnx")
    assert torch.backends.mha.get_fastpath_enabled()


def test_one_refusal_lists_all_attempts(export, tmp_path):
    with pytest.raises(ParityError) as caught:
        export(Forgetful)
    said = str(caught.value)
    assert said.startswith("Forgetful passes in none of the formats that were tried:\n- onnx: ranking of session ")
    assert "\n- onnx_dynamo: Forgetful cannot be exported to onnx_dynamo: " in said
    assert "ExportOptions(format='auto') tries TorchScript too" in said
    assert list((tmp_path / "repository").iterdir()) == []
    with pytest.raises(ParityError, match=r"(?s)- onnx: .*- onnx_dynamo: .*- torchscript: ranking of session "):
        export(Forgetful, format="auto")


def test_torchscript_is_the_last_that_auto_tries(export):
    with pytest.raises(UnsupportedModel, match="Bessel passes in none of the formats that were tried"):
        export(Bessel)
    bundle = export(Bessel, format="auto")
    assert bundle.format == document(bundle)["format"] == "torchscript"
    assert list(bundle.fell_out) == ["onnx", "onnx_dynamo"]
    second = export(Bessel, format="auto")
    assert (second.version, second.format, second.fell_out) == (2, "torchscript", {})


def test_torchscript_follows_onnx_only_where_it_replaces_it(export, bundle, tmp_path):
    shutil.copytree(bundle.repository, tmp_path / "repository")
    with pytest.raises(UnsupportedModel, match="TorchScript was not tried, since the version that answers is ONNX"):
        export(Bessel, format="auto")
    assert export(Bessel, format="auto", replace=True).format == "torchscript"


def test_an_error_of_the_model_itself_is_told_at_once(export):
    with pytest.raises(ParityError, match="the eager model's scores are NaN"):
        export(NotANumber)
    assert [line for line in export.said if line.startswith("tracing")] == ["tracing NotANumber to onnx"]


def test_an_error_of_the_workflow_is_told_at_once(export, monkeypatch):
    from nextitem_export.layouts import steps

    def refuse(*_):
        raise UnsupportedWorkflow("no such operator")

    monkeypatch.setattr(steps, "write_features", refuse)
    with pytest.raises(UnsupportedWorkflow, match=r"^no such operator$"):
        export(Encoder)
    assert [line for line in export.said if line.startswith("tracing")] == ["tracing Encoder to onnx"]
