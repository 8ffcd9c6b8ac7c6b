"""What lies beside a model's file: its item table, and the raw id of each row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from .._errors import UnsupportedModel

#: An array, or the file that holds it.
Stored = str | os.PathLike[str] | np.ndarray | torch.Tensor


def read_table(given: Stored) -> torch.Tensor:
    """The item table float32 [V, D]. Raises UnsupportedModel for what is none."""
    where = f" in {given}" if isinstance(given, (str, os.PathLike)) else ""
    table = _array(given, "item_table")
    if table.ndim != 2 or table.dtype.kind != "f":
        raise UnsupportedModel(
            f"the item_table{where} is {table.dtype} {list(table.shape)}, expected floats [V, D], one row for each code of the "
            "workflow's vocabulary"
        )
    if np.isnan(table).any():
        raise UnsupportedModel(f"the item_table{where} holds NaN: its training diverged. Give one from before that")
    return torch.from_numpy(np.array(table, dtype=np.float32))


def read_ids(given: Sequence[Any] | Stored) -> list[Any]:
    """The raw id of each row in order. Raises UnsupportedModel."""
    if isinstance(given, (str, os.PathLike, np.ndarray, torch.Tensor)):
        ids = _array(given, "item_ids")
        if ids.ndim != 1:
            raise UnsupportedModel(
                f"the item_ids have the shape {list(ids.shape)}, expected one raw id for each row, [V]"
            )
        return ids.tolist()
    return list(given)


def _array(given: Stored, what: str) -> np.ndarray:
    if isinstance(given, torch.Tensor):
        return given.detach().cpu().float().numpy() if given.is_floating_point() else given.cpu().numpy()
    if isinstance(given, np.ndarray):
        return given
    path = Path(given)
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            if len(tensors) == 1:
                return next(iter(tensors.values()))
            names = ", ".join(sorted(tensors))
            raise UnsupportedModel(
                f"{path} holds {len(tensors)} tensors ({names}), expected one as {what}: load the file and give the one that "
                "is meant as an array"
            )
    except UnsupportedModel:
        raise
    except Exception as error:
        raise UnsupportedModel(f"{path} cannot be read as {what}: {type(error).__name__}: {error}") from error
    raise UnsupportedModel(f"{what} is {path}, expected a .npy or a .safetensors file, or an array")
