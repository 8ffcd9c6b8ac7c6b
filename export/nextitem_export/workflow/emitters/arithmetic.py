"""Division, remainder and powers as Python has them, where ONNX differs or fails."""

from __future__ import annotations

from typing import Any

from nextitem_bundle.runtime.program import Instruction

from ..._errors import UnsupportedWorkflow
from ..graph_builder import TYPES, GraphBuilder, emitter

_LARGEST_EXPONENT = 63


@emitter("mod")
def _mod(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """The sign of the divisor."""
    if instruction.dtype.startswith("float"):
        return _float_remainder(builder, instruction.dtype, inputs)[1]
    divisor = _constant(builder, instruction.inputs[1])
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
    known = _constant(builder, instruction.inputs[1])
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
    exponent = _constant(builder, instruction.inputs[1])
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


def _constant(builder: GraphBuilder, number: int) -> Any:
    instruction = builder.instructions[number]
    return instruction.settings["value"] if instruction.op == "constant" else None


def _is_remainder(builder: GraphBuilder, number: int) -> bool:
    """Whether the value is never negative, because it is the remainder of a positive divisor."""
    instruction = builder.instructions[number]
    divisor = _constant(builder, instruction.inputs[1]) if instruction.op == "mod" else None
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
