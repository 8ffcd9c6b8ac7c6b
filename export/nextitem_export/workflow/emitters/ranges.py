"""Which integers an instruction can give, where that is known: a lookup of those needs no bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nextitem_bundle.runtime.program import Instruction

Range = tuple[int, int]
_LIMITS = np.iinfo(np.int64)


def range_of(instructions: Sequence[Instruction], number: int) -> Range | None:
    """The least and the greatest value of an integer or boolean instruction, None where they are not known."""
    instruction = instructions[number]
    if instruction.dtype == "bool":
        return 0, 1
    if instruction.dtype != "int64":
        return None
    if instruction.op == "constant":
        return (instruction.settings["value"],) * 2
    if instruction.op in ("encode", "lookup"):
        results = [*_ends(instruction.arrays["values"]), instruction.settings["default"]]
        return min(results), max(results)
    rule = _RULES.get(instruction.op)
    if rule is None:
        return None
    arguments = instruction.inputs[1:] if instruction.op == "where" else instruction.inputs
    found = rule(*(range_of(instructions, argument) for argument in arguments))
    return found if found and _LIMITS.min <= found[0] and found[1] <= _LIMITS.max else None


def _ends(values: np.ndarray) -> list[int]:
    return [int(values.min()), int(values.max())] if len(values) else []


def _remainder(_: Range | None, divisor: Range | None) -> Range | None:
    return (0, divisor[1] - 1) if divisor and divisor[0] > 0 else None


def _quotient(value: Range | None, divisor: Range | None) -> Range | None:
    if value is None or divisor is None or divisor[0] != divisor[1] or divisor[0] <= 0:
        return None
    return value[0] // divisor[0], value[1] // divisor[0]


def _sum(one: Range | None, two: Range | None) -> Range | None:
    return (one[0] + two[0], one[1] + two[1]) if one and two else None


def _difference(one: Range | None, two: Range | None) -> Range | None:
    return (one[0] - two[1], one[1] - two[0]) if one and two else None


def _product(one: Range | None, two: Range | None) -> Range | None:
    if one is None or two is None:
        return None
    products = [a * b for a in one for b in two]
    return min(products), max(products)


def _union(one: Range | None, two: Range | None) -> Range | None:
    return (min(one[0], two[0]), max(one[1], two[1])) if one and two else None


_RULES: dict[str, Callable[..., Range | None]] = {
    "mod": _remainder,
    "floordiv": _quotient,
    "add": _sum,
    "sub": _difference,
    "mul": _product,
    "where": _union,
    "cast": lambda value: value,
}
