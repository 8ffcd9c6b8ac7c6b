"""How the ranker is written: ONNX or TorchScript. A format is a function registered under its name."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .._errors import UnsupportedModel
from ..runtime.filters import WIDTHS
from ..runtime.step import open_step
from .ranker import OUTPUTS, Ranker, RankerFeature, filter_tensors

OPSET = 17
#: Triton 24.10's ONNX Runtime reads no newer one.
IR_VERSION = 8

Writer = Callable[[Ranker, tuple[RankerFeature, ...], tuple[torch.Tensor, ...], Path], dict[str, Any]]
FORMATS: dict[str, Writer] = {}


def write_ranker(
    format_name: str,
    ranker: Ranker,
    features: tuple[RankerFeature, ...],
    example: tuple[torch.Tensor, ...],
    folder: Path,
    *,
    threads: int,
) -> None:
    """Write the ranker's graph and its step.json into a version folder.

    example: the features of a batch of two sessions of different lengths, which the trace follows. The folder holds the
    item index already.
    Raises UnsupportedModel if the format is unknown or the model cannot be traced.
    """
    if format_name not in FORMATS:
        raise UnsupportedModel(f"unknown format '{format_name}', known are {', '.join(FORMATS)}")
    cardinality = len(ranker.log_popularity)
    no_filters = (torch.zeros(len(example[0]), WIDTHS[0], dtype=torch.int64),) * 2
    example = (*example, *no_filters, torch.ones(cardinality, dtype=torch.bool))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracer warnings; the parity gate judges the result
            settings = FORMATS[format_name](ranker.eval(), features, example, folder)
        settings |= {"kind": "ranker", "graph": format_name, "threads": threads, "batched": True}
        settings |= {"available": filter_tensors(features)[-1]}
        (folder / "step.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
        open_step(folder)  # a graph may be written and yet be refused by what runs it
    except UnsupportedModel:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"{type(ranker.model).__name__} cannot be exported to {format_name}: {type(error).__name__}: {error}"
        ) from error


def _onnx(
    ranker: Ranker,
    features: tuple[RankerFeature, ...],
    example: tuple[torch.Tensor, ...],
    folder: Path,
) -> dict[str, Any]:
    filters = filter_tensors(features)
    names = [*(feature.tensor for feature in features), *filters]
    axes: dict[str, dict[int, str]] = {name: {0: "B"} for name in (*names, *OUTPUTS)}
    axes |= {name: {0: "B", 1: f"P_{name}"} for name in filters[:2]} | {filters[2]: {0: "V"}}
    torch.onnx.export(
        ranker,
        example,
        str(folder / "model.onnx"),
        input_names=names,
        output_names=list(OUTPUTS),
        dynamic_axes=axes,
        opset_version=OPSET,
        do_constant_folding=False,  # would store the item table twice
        dynamo=False,
    )
    return {}


def _torchscript(
    ranker: Ranker,
    features: tuple[RankerFeature, ...],
    example: tuple[torch.Tensor, ...],
    folder: Path,
) -> dict[str, Any]:
    module = torch.jit.freeze(torch.jit.trace(ranker, example, check_trace=False))
    torch.jit.save(module, str(folder / "model.pt"))
    return {
        "inputs": [*(feature.tensor for feature in features), *filter_tensors(features)],
        "outputs": list(OUTPUTS),
    }


FORMATS["onnx"] = _onnx
FORMATS["torchscript"] = _torchscript
