"""A compiled workflow: a straight list of instructions over arrays, run by numpy, stored as JSON and npy files.

The exporter emits the same list as ONNX; this form is the reference that the graph is compared with, and what is served
where ONNX has no equal: hashed strings, vocabularies that are mapped from disk.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

import numpy as np

from ..request import Array
from . import hashing as _hashing  # noqa: F401  # pyright: ignore[reportUnusedImport]  registers its kernel
from .kernels import KERNELS

FORMAT_VERSION = 2
_DOCUMENT = "program.json"

#: A value of JSON that is no list and no object.
Attribute = Union[str, int, float, None]


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One step. inputs: earlier instructions by number. dtype: numpy's name, `string` for object arrays of str.

    attributes: what the operation takes beside its inputs, as an ONNX node's. arrays: constants, by name.
    """

    op: str
    inputs: tuple[int, ...]
    dtype: str
    attributes: Mapping[str, Attribute] = dataclasses.field(default_factory=dict[str, Attribute])
    arrays: Mapping[str, Array] = dataclasses.field(default_factory=dict[str, Array])


@dataclasses.dataclass(frozen=True)
class Program:
    """Instructions in order, and which of them are the outputs.

    Inputs: raw features [B, T] (strings as object arrays of str, only valid interactions are read) and
    `session_length` int64 [B, 1].
    """

    instructions: tuple[Instruction, ...]
    outputs: Mapping[str, int]

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs, each [B, window] or [B]."""
        values: list[Array] = []
        for instruction in self.instructions:
            arguments = [values[number] for number in instruction.inputs]
            values.append(KERNELS[instruction.op](instruction, tensors, *arguments))
        return {name: values[number] for name, number in self.outputs.items()}

    def save(self, folder: Path) -> None:
        """Write program.json and one npy file for each constant; strings as UTF-8 bytes, sorted order kept."""
        folder.mkdir(parents=True, exist_ok=True)
        listed: list[dict[str, Any]] = []
        for number, instruction in enumerate(self.instructions):
            for name, array in instruction.arrays.items():
                np.save(folder / f"{number}.{name}.npy", array, allow_pickle=False)
            listed.append(
                {
                    "op": instruction.op,
                    "inputs": list(instruction.inputs),
                    "dtype": instruction.dtype,
                    "attributes": dict(instruction.attributes),
                    "arrays": sorted(instruction.arrays),
                }
            )
        document = {"format_version": FORMAT_VERSION, "instructions": listed, "outputs": dict(self.outputs)}
        (folder / _DOCUMENT).write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Program:
        """Read what `save` wrote; constants are mapped from disk. Raises ValueError for another format version."""
        document: dict[str, Any] = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{folder / _DOCUMENT} has format version {document['format_version']}, this runtime reads "
                f"{FORMAT_VERSION}: export the bundle again"
            )
        instructions = tuple(
            Instruction(
                entry["op"],
                tuple(entry["inputs"]),
                entry["dtype"],
                entry["attributes"],
                {name: _mapped(folder / f"{number}.{name}.npy") for name in entry["arrays"]},
            )
            for number, entry in enumerate(document["instructions"])
        )
        return cls(instructions, document["outputs"])


def _mapped(path: Path) -> Array:
    # A plain view: each operation on a np.memmap makes another one, which takes longer than a small operation itself.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
