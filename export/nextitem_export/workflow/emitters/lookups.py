"""From values to what stands beside them in a constant table, with no bounds where the range of the values is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from onnx import TensorProto

from nextitem_bundle.runtime.features.kernels import KERNELS
from nextitem_bundle.runtime.features.program import Instruction
from nextitem_bundle.runtime.wire import NULL_INT64

from ..graph_builder import ML_DOMAIN, GraphBuilder, emitter

#: A dense table where the ids span at most this many times their number, and there are at least so many: with fewer a hash
#: table is as fast, and one node instead of five.
DENSE, DENSE_FROM = 8, 100_000
#: A table for all values that there can be, where these are at most so many or at most DENSE times the keys.
_SMALL = 4_096
_LIMITS = np.iinfo(np.int64)
#: No request can hold it: strings there end at a NUL.
_NO_STRING = "\0"

Range = tuple[int, int]


def is_dense(keys: np.ndarray) -> bool:
    """Whether these sorted integer keys, null aside, are looked up in a dense table."""
    keys = keys[keys != NULL_INT64]
    if len(keys) < DENSE_FROM:
        return False
    low, high = int(keys[0]), int(keys[-1])
    return high - low < DENSE * len(keys) and high < _LIMITS.max  # one beyond is for what is no key


@emitter("lookup", "encode")
def _lookup(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """A table of all possible values, a dense one for many compact integer keys, else a hash table."""
    keys, values = instruction.arrays["keys"], instruction.arrays["values"]
    default = instruction.attributes["default"]
    if instruction.dtype == "string":
        values = np.array([*(value.decode() for value in values.tolist()), None], dtype=object)[:-1]
    default = np.nan if default is None else default
    dtype = builder.dtype(instruction.inputs[0])
    if dtype == "string":
        known = {"keys_strings": [key.decode() for key in keys.tolist()] or [_NO_STRING]}
        return _encoder(builder, inputs[0], known, values, default)
    name = inputs[0] if dtype == "int64" else builder.add("Cast", inputs[0], to=TensorProto.INT64)
    possible = range_of(builder.instructions, instruction.inputs[0])
    if possible and possible[1] - possible[0] < max(_SMALL, DENSE * len(keys)):
        return _complete(builder, name, possible, instruction)
    if is_dense(keys):
        return _dense(builder, name, keys, values, default)
    return _encoder(builder, name, {"keys_int64s": keys.tolist() or [0]}, values, default)


def _encoder(builder: GraphBuilder, name: str, keys: dict[str, Any], values: np.ndarray, default: Any) -> str:
    if not len(values):  # LabelEncoder needs a key
        values = np.array([default], dtype=values.dtype)
    if values.dtype == np.int64:
        targets = {"values_int64s": values.tolist(), "default_int64": default}
        return builder.add("LabelEncoder", name, domain=ML_DOMAIN, **keys, **targets)
    places = {"values_int64s": list(range(1, len(values) + 1)), "default_int64": 0}
    place = builder.add("LabelEncoder", name, domain=ML_DOMAIN, **keys, **places)
    table = np.concatenate([np.array([default], dtype=values.dtype), values])
    return builder.add("Gather", builder.constant(table), place)


def _complete(builder: GraphBuilder, name: str, possible: Range, instruction: Instruction) -> str:
    asked = np.arange(possible[0], possible[1] + 1)
    table = KERNELS["lookup"](instruction, {}, asked)
    if possible[0]:
        name = builder.add("Sub", name, builder.scalar(possible[0], "int64"))
    return builder.add("Gather", builder.constant(table), name)


def _dense(builder: GraphBuilder, name: str, keys: np.ndarray, values: np.ndarray, default: Any) -> str:
    """The last entry is for all that is beyond the keys; null, which may be a key, is far from the others."""
    if keys[0] == NULL_INT64:
        found = _dense(builder, name, keys[1:], values[1:], default)
        null = builder.add("Equal", name, builder.scalar(NULL_INT64, "int64"))
        return builder.add("Where", null, builder.constant(values[0]), found)
    low, high = int(keys[0]), int(keys[-1])
    if 0 <= low < DENSE * len(keys):
        low = 0  # saves a subtraction
    table = np.full(high - low + 2, default, dtype=values.dtype)
    table[keys.astype(np.int64) - low] = values
    # Bounded before the subtraction, which could overflow; not by Clip, which is wrong for int64.
    reached = builder.add("GreaterOrEqual", name, builder.scalar(low, "int64"))
    inside = builder.add("And", reached, builder.add("LessOrEqual", name, builder.scalar(high, "int64")))
    place = builder.add("Where", inside, name, builder.scalar(high + 1, "int64"))
    if low:
        place = builder.add("Sub", place, builder.scalar(low, "int64"))
    return builder.add("Gather", builder.constant(table), place)


@emitter("bucketize")
def _bucketize(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    boundaries = instruction.arrays["boundaries"]
    column = builder.add("Unsqueeze", inputs[0], builder.constant([-1]))
    reached = builder.add("Not", builder.add("Less", column, builder.constant(boundaries)))  # NaN is less than none
    counts = builder.add("Cast", reached, to=TensorProto.INT64)
    return builder.add("ReduceSum", counts, builder.constant([-1]), keepdims=0)


def range_of(instructions: Sequence[Instruction], number: int) -> Range | None:
    """The least and the greatest value of an integer or boolean instruction, None where they are not known."""
    instruction = instructions[number]
    if instruction.dtype == "bool":
        return 0, 1
    if instruction.dtype != "int64":
        return None
    if instruction.op == "constant":
        value = cast("int", instruction.attributes["value"])
        return value, value
    if instruction.op in ("encode", "lookup"):
        results = [*_ends(instruction.arrays["values"]), instruction.attributes["default"]]
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
