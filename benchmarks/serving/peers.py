"""What the peers serve from: the checkpoint's model and workflow as somebody would write them out who has no nextitem.

TorchScript and ONNX give the 20 best items and nothing else: no filters, no availability, no limit of 100, which a bundle's
retrieval has. So these models have less to do than ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_export.workflow.compile import compile_workflow
from nextitem_export.workflow.fitted import FittedWorkflow
from nextitem_export.workflow.schedule import FeatureOutput
from nextitem_training.run_directory import RunDirectory


class TopItems(nn.Module):
    """Features [B, T] in the schema's order to the k best items: numbers int64 [B, k], from 0 in the vocabulary, and scores."""

    table: Tensor

    def __init__(self, model: Any, names: tuple[str, ...], k: int) -> None:
        super().__init__()
        self.model, self.names, self.k = model, names, k
        self.register_buffer("table", model.item_table()[FIRST_ITEM:].detach().clone())

    def forward(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers [B, k] and scores float32 [B, k]."""
        query = self.model.query(dict(zip(self.names, features, strict=True)))
        scores, numbers = torch.topk(nn.functional.linear(query, self.table), self.k)
        return numbers, scores


def write_peers(run: Path, folder: Path, k: int) -> None:
    """Write model.pt, model.onnx, features.onnx, program/, workflow/ and peer.json into a new folder."""
    folder.mkdir(parents=True)
    opened = RunDirectory.open(run)
    schema, model, workflow = opened.schema, opened.load_model(), opened.load_workflow()
    fitted = FittedWorkflow(workflow)
    names = [f"feature_{number}" for number in range(len(schema.features))]  # of tensors: columns have the others
    compiled = compile_workflow(
        workflow,
        schema.raw_dtypes,
        [FeatureOutput(f.name, name, f.dtype) for name, f in zip(names, schema.features, strict=True)],
        session_column=schema.session_column,
        tie_breaker_column=schema.tie_breaker_column,
        window=schema.window,
    )
    compiled.program.save(folder / "program")
    onnx.save(compiled.to_onnx(), str(folder / "features.onnx"))
    fitted.save(folder / "workflow")
    module = TopItems(model, schema.feature_names, k)
    _write_model(module, dict(zip(names, (f.dtype for f in schema.features), strict=True)), schema.window, folder)
    described = {
        "k": k,
        "tensors": names,
        "features": list(schema.feature_names),
        "dtypes": [feature.dtype for feature in schema.features],
        "raw_dtypes": dict(schema.raw_dtypes),
        "session_column": schema.session_column,
        "tie_breaker_column": schema.tie_breaker_column,
        "window": schema.window,
        "items": fitted.vocabulary(schema.item_feature).values.tolist(),
    }
    (folder / "peer.json").write_text(json.dumps(described), encoding="utf-8")


def _write_model(module: nn.Module, dtypes: Mapping[str, str], window: int, folder: Path) -> None:
    example = tuple(torch.from_numpy(np.ones((2, window), dtype=dtype)) for dtype in dtypes.values())
    module.eval()
    torch.jit.save(torch.jit.freeze(torch.jit.trace(module, example)), str(folder / "model.pt"))
    torch.onnx.export(
        module,
        example,
        str(folder / "model.onnx"),
        input_names=list(dtypes),
        output_names=["numbers", "scores"],
        dynamic_axes={name: {0: "B"} for name in (*dtypes, "numbers", "scores")},
        opset_version=17,
        do_constant_folding=False,
        dynamo=False,
    )
