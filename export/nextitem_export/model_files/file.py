"""What comes as a model and is no module yet: a file, what such a file holds, or either with what it does not say itself."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from nextitem_bundle.runtime.special_ids import FIRST_ITEM

from .._errors import UnsupportedModel
from .arrays import Stored, read_ids, read_table
from .onnx_file import OnnxFile, OnnxQuery, OnnxScores
from .torchscript import ScriptQuery, ScriptScores, load_script

_SCRIPTS, _GRAPHS = (".pt", ".pth", ".ts"), (".onnx",)


@dataclasses.dataclass(frozen=True, eq=False)
class ModelFile:
    """A session model as a file, with what the file does not say itself.

    `export_bundle` takes it in the place of a module. A path, a `torch.jit.ScriptModule` or an `onnx.ModelProto` alone means
    the same as a ModelFile without further arguments.

    Args:
        model: a TorchScript file (`.pt`, `.pth`, `.ts`), an ONNX file (`.onnx`, with external data beside it), or what one of
            them holds. It takes the features, each [B, T], padded on the right with 0, and gives scores, float [B, V], or
            with an `item_table` queries, float [B, D].
        item_table: float [V, D]: a `.npy` or `.safetensors` file, or an array. The scores are query @ item_table.T.
        item_ids: the raw id of each row, anything in rows that are no item: a sequence, an array or a `.npy` file. They are
            compared with the workflow's vocabulary. None: the rows are taken to be the workflow's codes.
        inputs: from the name of the model's input, or of TorchScript's argument, to the workflow's output, for each that has
            another name.
        output: the output of an ONNX file that has several.
    """

    model: Any
    item_table: Stored | None = None
    item_ids: Sequence[Any] | Stored | None = None
    inputs: Mapping[str, str] | None = None
    output: str | None = None


def opened(model: object) -> object:
    """A module in the place of a model file, everything else as it is.

    The module has `query` and `item_table`, or a forward that gives scores; `feature_names` where the file says them. Its class
    has the file's name. Raises UnsupportedModel for files that are no models.
    """
    told = model if isinstance(model, ModelFile) else ModelFile(model)
    source, name = told.model, type(told.model).__name__
    if isinstance(source, (str, os.PathLike)):
        source = _read(Path(source))
        name = Path(told.model).name
    if isinstance(source, torch.jit.ScriptModule):
        if told.output is not None:
            raise UnsupportedModel(
                f"output is '{told.output}', and TorchScript has no names of outputs: let it give one tensor, and leave "
                "output away"
            )
        identifier = re.sub(r"\W|^(?=\d)", "_", name)  # which TorchScript calls the module by
        found = _named(identifier, ScriptScores, ScriptQuery, told, source, told.inputs)
    elif isinstance(source, (Path, onnx.ModelProto)):
        found = _named(name, OnnxScores, OnnxQuery, told, OnnxFile(source, told.inputs or {}, told.output))
    elif isinstance(model, ModelFile):
        raise UnsupportedModel(
            f"the model of the ModelFile is of type {name}, expected a TorchScript or ONNX file, a torch.jit.ScriptModule or "
            "an onnx.ModelProto: give a torch.nn.Module by itself"
        )
    else:
        return model
    found.item_ids = None if told.item_ids is None else read_ids(told.item_ids)
    return found


def is_onnx(model: nn.Module) -> bool:
    """Whether an ONNX file gives the model's answers."""
    return any(isinstance(part, OnnxScores) for part in model.modules())


def feature_names(model: nn.Module, given: Sequence[str] | None, outputs: Sequence[str]) -> tuple[str, ...]:
    """The workflow's outputs that a model reads: what was given, or the model says, or all.

    Raises UnsupportedModel where a file reads something else, or does not say enough.
    """
    if isinstance(model, OnnxScores):
        return _read_by_graph(model, given, outputs)
    told = given or getattr(model, "feature_names", None)
    if told:
        return tuple(told)
    return model.features_among(outputs) if isinstance(model, ScriptScores) else tuple(outputs)


def check_ids(model: nn.Module, ids: np.ndarray, rows: np.ndarray) -> None:
    """Raise UnsupportedModel where a file was given with the ids of its rows, and they are not the workflow's.

    ids: of the vocabulary, [V - 3]. rows: int64 [V], the model's row of each code.
    """
    told: Any = getattr(model, "item_ids", None)
    if told is None:
        return
    kind = type(model).__name__
    of_items = rows[FIRST_ITEM:].tolist()
    if of_items and max(of_items) >= len(told):
        raise UnsupportedModel(
            f"item_ids has {len(told)} ids, and the workflow's vocabulary has an item in row {max(of_items)}: give the id of "
            f"every row of {kind}, or use the workflow that it was trained with"
        )
    wrong = [(row, due) for row, due in zip(of_items, ids.tolist(), strict=True) if str(told[row]) != str(due)]
    if wrong:
        row, due = wrong[0]
        raise UnsupportedModel(
            f"row {row} of {kind} is {told[row]!r} by its item_ids and {due!r} by the workflow's vocabulary, {len(wrong)} of "
            f"{len(ids)} items differ: use the workflow that the model was trained with, or bring the model's rows into the "
            "order of its codes"
        )


def _read(path: Path) -> Any:
    """The ScriptModule of a file, or the path of one that ONNX Runtime opens itself."""
    if path.suffix not in (*_SCRIPTS, *_GRAPHS):
        raise UnsupportedModel(
            f"the model is the path '{path}', expected a torch.nn.Module, a TorchScript file ({', '.join(_SCRIPTS)}) or an "
            f"ONNX file ({', '.join(_GRAPHS)}): load what is there and give that, or rename the file by what it is"
        )
    if not path.is_file():
        raise UnsupportedModel(f"the model is the path '{path}', and no file is there")
    return path if path.suffix in _GRAPHS else load_script(path)


def _named(name: str, scores: type[nn.Module], query: type[nn.Module], told: ModelFile, *arguments: Any) -> Any:
    """A module around what was opened, of a class that refusals call by the file's name."""
    if told.item_table is None:
        return type(name, (scores,), {})(*arguments).eval()
    return type(name, (query,), {})(*arguments, read_table(told.item_table)).eval()


def _read_by_graph(model: OnnxScores, given: Sequence[str] | None, outputs: Sequence[str]) -> tuple[str, ...]:
    kind, names = type(model).__name__, given or model.feature_names
    missing = [each for each in model.file.inputs if each.feature not in (given or outputs)]
    if missing:
        where = "features" if given else "the workflow's lists"
        raise UnsupportedModel(
            f"{kind} reads {', '.join(each.feature for each in missing)}, and {where} are {', '.join(given or outputs)}: say "
            f"which of them each input is, ModelFile(…, inputs={{'{missing[0].name}': '{(given or outputs)[0]}'}})"
        )
    return tuple(dict.fromkeys(names))
