"""Whether a program reads only the newest interactions, so that older ones need not enter it."""

from __future__ import annotations

from typing import Any

from nextitem_bundle.runtime.program import Program


def newest_only(program: Program) -> dict[str, Any] | None:
    """`window`, the last interactions that are read, and `sorted_by`, the raw integer column in whose order; else None.

    None for what reads whole sessions (sums, counts, first), or sorts by several columns or a computed one.
    """
    windows: set[int] = set()
    orders: set[str] = set()
    for instruction in program.instructions:
        if instruction.op == "within":
            return None
        if instruction.op in ("window", "valid"):
            start, stop = instruction.settings["start"], instruction.settings["stop"]
            if start >= 0 or stop is not None:
                return None
            windows.add(-start)
        if instruction.op == "order":
            _lengths, *keys = (program.instructions[number] for number in instruction.inputs)
            if len(keys) != 1 or keys[0].op != "input" or keys[0].dtype != "int64":
                return None
            orders.add(keys[0].settings["name"])
    if not windows or len(orders) > 1:
        return None
    return {"window": max(windows), "sorted_by": next(iter(orders), None)}
