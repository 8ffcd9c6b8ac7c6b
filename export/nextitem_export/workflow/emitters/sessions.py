"""Sorting, windows and sums over the interactions of a session."""

from __future__ import annotations

from typing import cast

import numpy as np
from onnx import TensorProto

from nextitem_bundle.runtime.features.program import Instruction
from nextitem_bundle.runtime.wire import NULL_INT64

from ..graph_builder import GraphBuilder, emitter


@emitter("order")
def _order(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """TopK gives ties to the lower index, so each sort is stable; the first key is sorted by last."""
    lengths, *keys = inputs
    padding = builder.add("GreaterOrEqual", _positions(builder), lengths)
    order: str | None = None
    for key, number in zip(reversed(keys), reversed(instruction.inputs[1:]), strict=True):
        dtype = builder.dtype(number)
        if dtype.startswith("float"):
            null, last = builder.add("IsNaN", key), builder.scalar(np.inf, dtype)
        else:
            null = builder.add("Equal", key, builder.scalar(NULL_INT64, dtype))
            last = builder.scalar(np.iinfo(np.int64).max, dtype)
        key = builder.add("Where", builder.add("Or", padding, null), last, key)
        if order is not None:
            key = builder.add("GatherElements", key, order, axis=1)
        step = _sorted_indices(builder, key)
        order = step if order is None else builder.add("GatherElements", order, step, axis=1)
    assert order is not None
    return order


def _sorted_indices(builder: GraphBuilder, key: str) -> str:
    name = f"TopK_{len(builder.nodes)}"
    builder.add_named("TopK", [key, builder.longest()], [f"{name}_values", name], largest=0, sorted=1, axis=1)
    return name


def _positions(builder: GraphBuilder) -> str:
    """0 to T - 1, int64 [T]."""
    width = builder.add("Squeeze", builder.longest())
    return builder.add("Range", builder.constant(np.array(0)), width, builder.constant(np.array(1)))


@emitter("within")
def _within(builder: GraphBuilder, _: Instruction, inputs: list[str]) -> str:
    return builder.add("Less", _positions(builder), inputs[1])


@emitter("window")
def _window(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """As many ranks as there can be interactions, which may be fewer than the window: what is not there is not computed."""
    start, width = (cast("int", instruction.attributes[name]) for name in ("start", "width"))
    steps = builder.add("Slice", builder.constant(np.arange(width)), builder.constant([0]), builder.longest())
    ranks = builder.add("Add", _bound(builder, start, inputs[0]), steps)
    if start == 0 or start <= -width:
        return ranks
    return builder.add("Min", ranks, builder.add("Sub", builder.longest(), builder.constant([1])))


@emitter("valid")
def _valid(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """Fewer interactions than the window are all kept, of more each place of the window holds one."""
    start, width = (cast("int", instruction.attributes[name]) for name in ("start", "width"))
    stop = cast("int | None", instruction.attributes["stop"])
    count = inputs[0]
    if stop is not None or 0 > start > -width or start > 0:
        last = count if stop is None else _bound(builder, stop, inputs[0])
        count = builder.add("Sub", last, _bound(builder, start, inputs[0]))
    return builder.add("Less", builder.constant(np.arange(width)), count)


def _bound(builder: GraphBuilder, at: int, lengths: str) -> str:
    if at < 0:
        return builder.add("Max", builder.add("Add", lengths, builder.constant([at])), builder.constant([0]))
    return builder.add("Min", builder.constant([at]), lengths)


@emitter("take")
def _take(builder: GraphBuilder, _: Instruction, inputs: list[str]) -> str:
    values, positions, *ranks = inputs
    if ranks:
        positions = builder.add("GatherElements", positions, ranks[0], axis=1)
    return builder.add("GatherElements", values, positions, axis=1)


@emitter("reduce")
def _reduce(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    values, counted = inputs
    kind = cast("str", instruction.attributes["kind"])
    dtype = builder.dtype(instruction.inputs[0])
    if kind == "count":
        ones = builder.add("Cast", counted, to=TensorProto.INT64)
        return builder.add("ReduceSum", ones, builder.constant([1]), keepdims=1)
    if dtype == "bool":  # the smallest of truth values is whether all hold
        values, dtype = builder.add("Cast", values, to=TensorProto.INT64), "int64"
        edge = {"min": 1, "max": 0}[kind]
    elif kind == "sum":
        edge = 0
    else:
        limits = (-np.inf, np.inf) if dtype.startswith("float") else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        edge = limits[kind == "min"]
    kept = builder.add("Where", counted, values, builder.scalar(edge, dtype))
    if kind == "sum":
        return builder.add("ReduceSum", kept, builder.constant([1]), keepdims=1)
    if dtype == "int64":  # ReduceMax and ReduceMin are wrong for some
        reduced = f"extreme_{len(builder.nodes)}"
        builder.add_named(
            "TopK", [kept, builder.constant([1])], [reduced, f"{reduced}_at"], largest=int(kind == "max"), axis=1
        )
    else:
        reduced = builder.add("ReduceMax" if kind == "max" else "ReduceMin", kept, axes=(1,), keepdims=1)
    return builder.add("Cast", reduced, to=TensorProto.BOOL) if instruction.dtype == "bool" else reduced
