"""Instructions that ONNX has an operator for, and what differs between it and numpy.

ONNX Runtime's Min, Max, Clip, Sign, ReduceMin and ReduceMax are wrong for some int64 beyond 2**31 on x86 (seen with 1.31,
microsoft/onnxruntime#32475): no emitter uses them on int64 that a request can set. Its comparisons are right.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from nextitem_bundle.runtime.program import Instruction
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

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
    number, truth = _NUMERIC[instruction.op]
    if instruction.dtype == "int64" and number in ("Min", "Max"):
        return builder.add("Where", builder.add("Less" if number == "Min" else "Greater", *inputs), *inputs)
    return builder.add(truth if instruction.dtype == "bool" else number, *inputs)


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
    if other.op == "constant" and not other.settings["value"]:
        return builder.add("And", condition, yes)
    if chosen.op == "constant" and chosen.settings["value"]:
        return builder.add("Or", condition, no)
    kept = builder.add("And", builder.add("Not", condition), no)
    return builder.add("Or", builder.add("And", condition, yes), kept)


@emitter("cast")
def _cast(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    return builder.add("Cast", inputs[0], to=TYPES[instruction.dtype])


@emitter("input")
def _input(builder: GraphBuilder, instruction: Instruction, _: list[str]) -> str:
    name = instruction.settings["name"]
    return builder.input(name, instruction.dtype, 1 if name == "session_length" else "T")


@emitter("constant")
def _constant(builder: GraphBuilder, instruction: Instruction, _: list[str]) -> str:
    value, dtype = instruction.settings["value"], instruction.dtype
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
