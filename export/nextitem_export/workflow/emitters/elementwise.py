"""Instructions that ONNX has an operator for, and what differs between it and numpy.

Division, remainder and powers are as Python has them, where ONNX differs or fails.

ONNX Runtime's Min, Max, Clip, Sign, ReduceMin and ReduceMax are wrong for some int64 beyond 2**31 on x86 (seen with 1.31,
microsoft/onnxruntime#32475): no emitter uses them on int64 that a request can set. Its comparisons are right.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from onnx import TensorProto

from nextitem_bundle.runtime.features.program import Instruction
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from ..._errors import UnsupportedWorkflow
from ..graph_builder import ML_DOMAIN, TYPES, GraphBuilder, emitter

_PLAIN = {
    "div": "Div",
    "neg": "Neg",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "sin": "Sin",
    "tanh": "Tanh",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
    "eq": "Equal",
    "and": "And",
    "or": "Or",
    "not": "Not",
}
_LARGEST_EXPONENT = 63


@emitter(*_PLAIN)
def _plain(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    return builder.add(_PLAIN[instruction.op], *inputs)


# What ONNX has for numbers alone, and what it is for truth values.
_NUMERIC = {
    "add": ("Add", "Or"),
    "sub": ("Sub", "Xor"),
    "mul": ("Mul", "And"),
    "minimum": ("Min", "And"),
    "maximum": ("Max", "Or"),
}


@emitter(*_NUMERIC)
def _numeric(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    number, boolean = _NUMERIC[instruction.op]
    if instruction.dtype == "int64" and number in ("Min", "Max"):
        return builder.add("Where", builder.add("Less" if number == "Min" else "Greater", *inputs), *inputs)
    return builder.add(boolean if instruction.dtype == "bool" else number, *inputs)


@emitter("abs", "sign")
def _unsigned(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    if instruction.dtype == "bool":
        return inputs[0]
    if instruction.op == "sign" and instruction.dtype == "int64":
        zero = builder.scalar(0, "int64")
        above, below = (builder.add(op, inputs[0], zero) for op in ("Greater", "Less"))
        return builder.add("Sub", *(builder.add("Cast", side, to=TensorProto.INT64) for side in (above, below)))
    return builder.add("Abs" if instruction.op == "abs" else "Sign", inputs[0])


@emitter("cos")
def _cos(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """Not every version of ONNX Runtime has Cos for doubles, but all have Sin: cos x = 1 - 2 sin² x/2."""
    if instruction.dtype == "float32":
        return builder.add("Cos", inputs[0])
    one, two = builder.scalar(1, instruction.dtype), builder.scalar(2, instruction.dtype)
    sine = builder.add("Sin", builder.add("Div", inputs[0], two))
    return builder.add("Sub", one, builder.add("Mul", two, builder.add("Mul", sine, sine)))


_ORDERINGS = {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}


@emitter(*_ORDERINGS)
def _ordering(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    if builder.dtype(instruction.inputs[0]) == "bool":
        inputs = [builder.add("Cast", name, to=TensorProto.INT32) for name in inputs]
    return builder.add(_ORDERINGS[instruction.op], *inputs)


@emitter("ne")
def _ne(builder: GraphBuilder, _: Instruction, inputs: list[str]) -> str:
    return builder.add("Not", builder.add("Equal", *inputs))


@emitter("where")
def _where(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """ONNX Runtime's Where takes no truth values."""
    condition, yes, no = inputs
    if instruction.dtype != "bool":
        return builder.add("Where", condition, yes, no)
    chosen, other = (builder.instructions[number] for number in instruction.inputs[1:])
    if other.op == "constant" and not other.attributes["value"]:
        return builder.add("And", condition, yes)
    if chosen.op == "constant" and chosen.attributes["value"]:
        return builder.add("Or", condition, no)
    kept = builder.add("And", builder.add("Not", condition), no)
    return builder.add("Or", builder.add("And", condition, yes), kept)


@emitter("cast")
def _cast(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    return builder.add("Cast", inputs[0], to=TYPES[instruction.dtype])


@emitter("input")
def _input(builder: GraphBuilder, instruction: Instruction, _: list[str]) -> str:
    name = cast("str", instruction.attributes["name"])
    return builder.input(name, instruction.dtype, 1 if name == "session_length" else "T")


@emitter("constant")
def _constant(builder: GraphBuilder, instruction: Instruction, _: list[str]) -> str:
    value, dtype = instruction.attributes["value"], instruction.dtype
    if dtype == "string":
        return builder.constant(np.array(value, dtype=object))
    return builder.scalar(np.nan if value is None else value, dtype)


@emitter("is_null")
def _is_null(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    dtype = builder.dtype(instruction.inputs[0])
    if dtype.startswith("float"):
        return builder.add("IsNaN", inputs[0])
    if dtype == "string":  # opset 17 cannot compare strings
        found = builder.add("LabelEncoder", inputs[0], domain=ML_DOMAIN, keys_strings=[NULL_STRING], values_int64s=[1],
                            default_int64=0)  # fmt: skip
        return builder.add("Cast", found, to=TensorProto.BOOL)
    return builder.add("Equal", inputs[0], builder.scalar(NULL_INT64, dtype))


@emitter("mod")
def _mod(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """The sign of the divisor."""
    if instruction.dtype.startswith("float"):
        return _float_remainder(builder, instruction.dtype, inputs)[1]
    divisor = _constant_value(builder, instruction.inputs[1])
    if divisor in (0, -1):
        return builder.add("Mul", inputs[0], builder.scalar(0, instruction.dtype))
    if divisor is not None:
        return builder.add("Mod", *inputs)
    special, safe, _minus_one = _guarded(builder, instruction.dtype, inputs[1])
    return builder.add("Where", special, builder.scalar(0, instruction.dtype), builder.add("Mod", inputs[0], safe))


@emitter("floordiv")
def _floordiv(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """Towards minus infinity: ONNX divides integers towards zero."""
    if instruction.dtype.startswith("float"):
        return _float_quotient(builder, instruction.dtype, inputs)
    value, divisor = inputs
    known = _constant_value(builder, instruction.inputs[1])
    if known is None:
        return _quotient_of_columns(builder, instruction.dtype, value, divisor)
    if known == 0:
        return builder.add("Mul", value, divisor)
    if known == -1:
        return builder.add("Neg", value)
    if known > 0 and _is_remainder(builder, instruction.inputs[0]):
        return builder.add("Div", value, divisor)
    # 1 nearer to zero where the quotient is negative, and 1 off it afterwards; this way nothing overflows.
    negative = builder.add("Less" if known > 0 else "Greater", value, builder.scalar(0, instruction.dtype))
    step = builder.add("Cast", negative, to=TYPES[instruction.dtype])
    step = builder.add("Neg", step) if known > 0 else step
    nearer = builder.add("Div", builder.add("Sub", value, step), divisor)
    return builder.add("Add" if known > 0 else "Sub", nearer, step)


def _quotient_of_columns(builder: GraphBuilder, dtype: str, value: str, divisor: str) -> str:
    special, safe, minus_one = _guarded(builder, dtype, divisor)
    zero = builder.scalar(0, dtype)
    rest = builder.add("Mod", value, safe)  # not fmod, which goes through doubles
    negative = builder.add("Xor", builder.add("Less", value, zero), builder.add("Less", safe, zero))
    lower = builder.add("And", negative, builder.add("Not", builder.add("Equal", rest, zero)))
    quotient = builder.add("Sub", builder.add("Div", value, safe), builder.add("Cast", lower, to=TYPES[dtype]))
    # The divisor is 0 or -1 there: 0 as numpy has it, or the negative, which the processor cannot divide to.
    exception = builder.add("Where", minus_one, builder.add("Neg", value), zero)
    return builder.add("Where", special, exception, quotient)


@emitter("pow")
def _pow(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """Integers by repeated squaring: ONNX Runtime computes them as doubles, which lose digits."""
    if instruction.dtype.startswith("float"):
        return builder.add("Pow", *inputs)
    exponent = _constant_value(builder, instruction.inputs[1])
    if exponent is None or not 0 <= exponent <= _LARGEST_EXPONENT:
        raise UnsupportedWorkflow(
            f"an integer column to the power of {'another column' if exponent is None else exponent} is not compiled, "
            f"expected a number from 0 to {_LARGEST_EXPONENT}: make the column float before"
        )
    result, square = None, inputs[0]
    for bit in range(int(exponent).bit_length()):
        if bit:
            square = builder.add("Mul", square, square)
        if exponent >> bit & 1:
            result = square if result is None else builder.add("Mul", result, square)
    if result is not None:
        return result
    nothing = builder.add("Mul", inputs[0], builder.scalar(0, instruction.dtype))
    return builder.add("Add", nothing, builder.scalar(1, instruction.dtype))


def _constant_value(builder: GraphBuilder, number: int) -> Any:
    instruction = builder.instructions[number]
    return instruction.attributes["value"] if instruction.op == "constant" else None


def _is_remainder(builder: GraphBuilder, number: int) -> bool:
    """Whether the value is never negative, because it is the remainder of a positive divisor."""
    instruction = builder.instructions[number]
    divisor = _constant_value(builder, instruction.inputs[1]) if instruction.op == "mod" else None
    return divisor is not None and divisor > 0


def _guarded(builder: GraphBuilder, dtype: str, divisor: str) -> tuple[str, str, str]:
    """Where the divisor is 0 or -1, at which ONNX Runtime ends the process; it with 1 there; where it is -1."""
    minus_one = builder.add("Equal", divisor, builder.scalar(-1, dtype))
    special = builder.add("Or", minus_one, builder.add("Equal", divisor, builder.scalar(0, dtype)))
    return special, builder.add("Where", special, builder.scalar(1, dtype), divisor), minus_one


def _float_remainder(builder: GraphBuilder, dtype: str, inputs: list[str]) -> tuple[str, str, str]:
    """C's fmod, Python's remainder, and where they differ."""
    value, divisor = inputs
    zero = builder.scalar(0, dtype)
    remainder = builder.add("Mod", value, divisor, fmod=1)
    below = builder.add("Less", divisor, zero)
    other_sign = builder.add("Xor", below, builder.add("Less", remainder, zero))
    moved = builder.add("And", other_sign, builder.add("Not", builder.add("Equal", remainder, zero)))
    moved = builder.add("And", moved, builder.add("Not", builder.add("IsNaN", remainder)))
    return remainder, builder.add("Where", moved, builder.add("Add", remainder, divisor), remainder), moved


def _float_quotient(builder: GraphBuilder, dtype: str, inputs: list[str]) -> str:
    """numpy's: the quotient without the remainder is whole but for rounding."""
    value, divisor = inputs
    remainder, _, moved = _float_remainder(builder, dtype, inputs)
    whole = builder.add("Div", builder.add("Sub", value, remainder), divisor)
    whole = builder.add("Sub", whole, builder.add("Cast", moved, to=TYPES[dtype]))
    floor = builder.add("Floor", whole)
    above = builder.add("Greater", builder.add("Sub", whole, floor), builder.scalar(0.5, dtype))
    rounded = builder.add("Add", floor, builder.add("Cast", above, to=TYPES[dtype]))
    by_zero = builder.add("Equal", divisor, builder.scalar(0, dtype))
    return builder.add("Where", by_zero, builder.add("Div", value, divisor), rounded)
