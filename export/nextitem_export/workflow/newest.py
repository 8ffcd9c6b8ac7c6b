"""Whether a program reads only the newest interactions, so that older ones need not enter it."""

from __future__ import annotations

from nextitem_bundle.runtime.program import Program
from nextitem_bundle.runtime.steps import Newest


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
            start, stop = instruction.settings["start"], instruction.settings["stop"]
            if start >= 0 or stop is not None:
                return Newest()
            windows.add(-start)
        if instruction.op == "order":
            _lengths, *keys = (program.instructions[number] for number in instruction.inputs)
            if len(keys) != 1 or keys[0].op != "input" or keys[0].dtype != "int64":
                return Newest()
            orders.add(keys[0].settings["name"])
    if not windows or len(orders) > 1:
        return Newest()
    return Newest(max(windows), next(iter(orders), None))
