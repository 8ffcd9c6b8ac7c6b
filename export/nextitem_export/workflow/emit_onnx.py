"""From a program to ONNX: each instruction by its emitter, and the outputs together."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import onnx
from onnx import helper

from nextitem_bundle.runtime.features.program import Instruction, Program

from . import emitters as _emitters  # noqa: F401  registers them
from .graph_builder import EMITTERS, TYPES, GraphBuilder, emitter

__all__ = ["EMITTERS", "emit_onnx"]

#: From so many outputs of one dtype on, padding them together takes fewer nodes than each by itself.
_TOGETHER = 4


def emit_onnx(program: Program, window: int) -> onnx.ModelProto:
    """The program as an ONNX model: raw features [B, T], `session_length` int64 [B, 1] → outputs [B, window]."""
    builder = GraphBuilder(program.instructions)
    names: list[str] = []
    for instruction in program.instructions:
        arguments = [names[number] for number in instruction.inputs]
        names.append(EMITTERS[instruction.op](builder, instruction, arguments))
    _emit_outputs(builder, program, names, window)
    outputs = [
        helper.make_tensor_value_info(tensor, TYPES[program.instructions[number].dtype], ["B", window])
        for tensor, number in program.outputs.items()
    ]
    return builder.model(outputs)


@emitter("pad")
def _pad(_: GraphBuilder, __: Instruction, inputs: list[str]) -> str:
    """What is to be padded: the outputs are, together."""
    return inputs[0]


def _emit_outputs(builder: GraphBuilder, program: Program, names: list[str], window: int) -> None:
    """What was computed for the interactions that there are, widened to the window, with 0 behind them."""
    narrow = _narrow(program.instructions)
    groups: dict[Any, dict[int, str]] = defaultdict(dict)  # the instruction of each tensor
    for tensor, number in program.outputs.items():
        instruction = program.instructions[number]
        value, valid = instruction.inputs
        group = groups[instruction.dtype, names[valid], value in narrow]
        if number in group:
            builder.add_named("Identity", [group[number]], [tensor])
        group.setdefault(number, tensor)
    for (dtype, valid, is_narrow), group in groups.items():
        values, tensors = [names[number] for number in group], list(group.values())
        zero = builder.scalar(0, dtype)
        if is_narrow and len(group) >= _TOGETHER:
            stacked = _widened(builder, builder.add("Concat", *values, axis=0), window)
            valid = builder.add("Concat", *[valid] * len(group), axis=0)
            builder.add_named("Split", [builder.add("Where", valid, stacked, zero)], tensors, axis=0)
            continue
        for value, tensor in zip(values, tensors, strict=True):
            wide = _widened(builder, value, window) if is_narrow else value
            builder.add_named("Where", [valid, wide, zero], [tensor])


def _widened(builder: GraphBuilder, value: str, window: int) -> str:
    there = builder.add("Min", builder.longest(), builder.constant([window]))
    missing = builder.add("Sub", builder.constant([window]), there)
    return builder.add("Pad", value, builder.add("Concat", builder.constant([0, 0, 0]), missing, axis=0))


def _narrow(instructions: tuple[Instruction, ...]) -> set[int]:
    """The instructions whose result is only as wide as the longest session, where that is shorter than the window."""
    narrow: set[int] = set()
    for number, instruction in enumerate(instructions):
        if instruction.op == "take":
            if cast("int", instructions[instruction.inputs[-1]].attributes["width"]) > 1:
                narrow.add(number)
        elif narrow.intersection(instruction.inputs):
            narrow.add(number)
    return narrow
