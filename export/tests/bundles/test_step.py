from __future__ import annotations

import numpy as np
import pytest
import torch

from nextitem_bundle.runtime import steps
from nextitem_bundle.runtime.features import FeaturesStep
from nextitem_bundle.runtime.graphs.onnx import OnnxStep
from nextitem_bundle.runtime.graphs.torchscript import TorchScriptStep
from nextitem_bundle.runtime.graphs.torchscript import open_step as open_torchscript
from nextitem_bundle.runtime.id_decoder import IdDecoder
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.queued import QueuedStep
from nextitem_bundle.runtime.retrieval import Retrieval
from nextitem_bundle.runtime.retrieval.ann import AnnRetrieval
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import KINDS
from nextitem_export import ExportOptions
from nextitem_export.graphs.features import write_features
from nextitem_export.graphs.id_decoder import write_items
from nextitem_export.layouts import LAYOUTS
from nextitem_export.layouts.steps import write_steps

CLASSES = {
    "features_compiled": FeaturesStep,
    "features_nvtabular": FeaturesStep,
    "retrieval": Retrieval,
    "retrieval_ann": AnnRetrieval,
    "onnx": OnnxStep,
    "items": IdDecoder,
    "fused_graph": QueuedStep,
    "fused_steps": QueuedStep,
    "torchscript": TorchScriptStep,
}


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, y


TORCHSCRIPT = steps.TorchScriptGraph(("x", "y"), ("a", "b"))


@pytest.fixture
def folder_of(plan, tmp_path):
    """A version folder of each kind of step."""

    def make(kind: str):
        if kind.startswith("features_"):
            write_features(plan, kind.removeprefix("features_"), tmp_path)
        elif kind in ("items", "onnx"):
            write_items(np.array([7, 8]), tmp_path)
            if kind == "onnx":
                steps.write_step(tmp_path, steps.OnnxGraph())
        elif kind.startswith("fused") or kind == "retrieval_ann":
            features = "nvtabular" if kind == "fused_steps" else "compiled"
            scoring = "ann" if kind == "retrieval_ann" else "exact"
            layout, options = (
                LAYOUTS["fused"]("shop"),
                ExportOptions(layout="fused", features=features, scoring=scoring),
            )
            folders = layout.folders(tmp_path, 1)
            write_steps(folders, plan, options)
            return folders.retrieval if kind == "retrieval_ann" else layout.assemble(tmp_path, plan, options)
        else:
            torch.jit.save(torch.jit.script(Double()), str(tmp_path / "model.pt"))
            ItemIndex.of(np.array([7, 8])).save(tmp_path)
            retrieval = steps.Retrieval(TORCHSCRIPT, steps.Ranking({"y": "mask"}))
            steps.write_step(tmp_path, TORCHSCRIPT if kind == "torchscript" else retrieval)
        return tmp_path

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_opened_by_what_step_json_says(kind, folder_of):
    step = open_step(folder_of(kind))
    assert type(step) is CLASSES[kind]
    assert step.inputs
    assert step.outputs


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "step.json").write_text('{"kind": "magic"}')
    with pytest.raises(ValueError, match=f"kind 'magic', this runtime knows {', '.join(KINDS)}"):
        open_step(tmp_path)


def test_torchscript_takes_inputs_by_name_in_the_order_of_step_json(folder_of):
    read_only = np.arange(3.0)
    read_only.flags.writeable = False  # as Triton's are
    step = open_torchscript(folder_of("retrieval"), TORCHSCRIPT)
    answer = step.run({"y": np.arange(2), "x": read_only, "unused": np.zeros(1)})
    assert {name: values.tolist() for name, values in answer.items()} == {"a": [0.0, 2.0, 4.0], "b": [0, 1]}
