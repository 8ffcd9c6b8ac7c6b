"""Which backend of a compiled workflow is served: the ONNX graph, or the numpy program for what ONNX lacks.

A hash table of ONNX Runtime is built when the graph is loaded and held in memory; above the limits below that takes seconds
and gigabytes, while the program's sorted tables are mapped from disk and cost nothing until they are asked.
"""

from __future__ import annotations

import dataclasses

from nextitem_bundle.runtime.features.program import Instruction, Program
from nextitem_bundle.runtime.steps import Newest
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from .emit_onnx import EMITTERS

ONNX, NUMPY = "onnx", "numpy"

#: Keys of one lookup up to which the graph is served.
STRING_KEYS_LIMIT = 1_000_000
INTEGER_KEYS_LIMIT = 5_000_000


@dataclasses.dataclass(frozen=True)
class BackendChoice:
    """`onnx`, or `numpy` and why it has to be."""

    name: str
    reason: str | None = None


def choose_backend(program: Program) -> BackendChoice:
    """The graph, unless an instruction has no emitter or a lookup is too large for it."""
    reasons = (_reason(instruction) for instruction in program.instructions)
    reason = next((found for found in reasons if found), None)
    return BackendChoice(NUMPY, reason) if reason else BackendChoice(ONNX)


def _reason(instruction: Instruction) -> str | None:
    if instruction.op not in EMITTERS:
        return f"ONNX has no equal for '{instruction.op}'"
    keys = instruction.arrays.get("keys")
    if keys is None:
        return None
    kind, limit = ("strings", STRING_KEYS_LIMIT) if keys.dtype.kind == "S" else ("integers", INTEGER_KEYS_LIMIT)
    null = NULL_STRING.encode() if kind == "strings" else NULL_INT64
    size = len(keys) - int(len(keys) > 0 and keys[0] == null)  # a key of its own, and before all others
    return f"a vocabulary of {size:,} {kind}, above {limit:,}" if size > limit else None


def newest_only(program: Program) -> Newest:
    """How many of the last interactions are read, and in the order of which raw integer column.

    Without a window for what reads whole sessions (sums, counts, first), or sorts by several columns or a computed one.
    """
    windows: set[int] = set()
    orders: set[str] = set()
    for instruction in program.instructions:
        if instruction.op == "within":
            return Newest()
        if instruction.op in ("window", "valid"):
            start, stop = instruction.attributes["start"], instruction.attributes["stop"]
            assert isinstance(start, int)
            if start >= 0 or stop is not None:
                return Newest()
            windows.add(-start)
        if instruction.op == "order":
            _lengths, *keys = (program.instructions[number] for number in instruction.inputs)
            if len(keys) != 1 or keys[0].op != "input" or keys[0].dtype != "int64":
                return Newest()
            orders.add(str(keys[0].attributes["name"]))
    if not windows or len(orders) > 1:
        return Newest()
    return Newest(max(windows), next(iter(orders), None))
