"""The files of a native bundle's steps: their graphs, and how the bundle's own runtime opens them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from nextitem_bundle.runtime.item_index import FILES as ITEM_INDEX_FILES
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.ranker import AVAILABILITY, read_constants

from .._errors import ExportError
from ..graphs.features import compile_plan
from ..graphs.formats import save_torchscript
from ..graphs.ranker import filter_tensors
from ..plan import Plan
from ..workflow.forms import NUMPY
from .features import native_features


def write_native_features(plan: Plan, folder: Path) -> None:
    """Write the features step, `model.onnx` and step.json, into a version folder.

    Raises UnsupportedWorkflow where the workflow cannot be compiled, ExportError where only numpy has what it needs.
    """
    compiled = compile_plan(plan)
    if compiled.form.name == NUMPY:
        raise ExportError(
            f"the workflow needs numpy ({compiled.form.reason}), and runtime 'native' has ONNX alone: export it with "
            "ExportOptions(runtime='python')"
        )
    names = filter_tensors(plan.features)
    graph = native_features(compiled, plan.signature, (names[0], names[1]), plan.vocabulary.values)
    onnx.save(graph, str(folder / "model.onnx"))
    settings = {"kind": "native", "threads": 1, "batched": False, "signature": plan.signature.to_json()}
    _write_settings(folder, settings)


def bake_availability(folder: Path, example: Mapping[str, np.ndarray]) -> None:
    """Make what the ranker in this version folder takes from the availability list a constant of its graph.

    Triton's own backends read no list. example: the ranker's tensors for some sessions, by name.
    """
    settings = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    constants = read_constants(folder, settings, ItemIndex.load(folder))
    more = _BAKERS[settings["graph"]](folder, settings, constants, example)
    common = {"kind": settings["graph"], "threads": settings["threads"], "batched": settings["batched"]}
    _write_settings(folder, common | more)
    for name in (AVAILABILITY, *ITEM_INDEX_FILES):
        (folder / name).unlink()


def _bake_onnx(
    folder: Path, _: Mapping[str, Any], constants: Mapping[str, np.ndarray], __: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    path = str(folder / "model.onnx")
    model = onnx.load(path, load_external_data=False)
    kept = [given for given in model.graph.input if given.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    onnx.save(model, path)
    return {}


class _Available(torch.nn.Module):
    """The ranker with its last input given."""

    available: torch.Tensor

    def __init__(self, ranker: torch.nn.Module, available: torch.Tensor) -> None:
        super().__init__()
        self.ranker = ranker
        self.register_buffer("available", available)

    def forward(self, *tensors: torch.Tensor) -> Any:
        """What the ranker gives."""
        return self.ranker(*tensors, self.available)


def _bake_torchscript(
    folder: Path, settings: Mapping[str, Any], constants: Mapping[str, np.ndarray], example: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    ranker = torch.jit.load(str(folder / "model.pt"), map_location="cpu").eval()
    inputs = [name for name in settings["inputs"] if name not in constants]
    (available,) = constants.values()
    tensors = tuple(torch.from_numpy(example[name]) for name in inputs)
    # The ranker is called as it was traced: it stays as general as it is.
    baked = torch.jit.trace(_Available(ranker, torch.from_numpy(available)).eval(), tensors, check_trace=False)
    save_torchscript(torch.jit.freeze(baked), folder)
    return {"inputs": inputs, "outputs": settings["outputs"]}


def _write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    (folder / "step.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


_BAKERS = {"onnx": _bake_onnx, "torchscript": _bake_torchscript}
