"""Instructions in numpy, which defines them, and as nodes of ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import helper

from nextitem_bundle.runtime.features.program import Instruction, Program
from nextitem_export.workflow import emit_onnx as _registered
from nextitem_export.workflow.graph_builder import EMITTERS, TYPES, GraphBuilder

assert _registered

LIMITS = np.iinfo(np.int64)
EXTREME = {
    # ONNX Runtime's Min, Max, Clip and Sign are wrong for -3e9.
    "int64": [
        0,
        1,
        -1,
        2,
        -7,
        63,
        5 * 10**9,
        *[-3 * 10**9] * 4,
        2**53 + 1,
        LIMITS.max,
        LIMITS.max - 1,
        LIMITS.min,
        1 - 2**63,
    ],
    "float32": [0.0, -0.0, 0.5, 1.5, -2.5, np.nan, np.inf, -np.inf, 1e30, -1e-30, 16777217.0],
    "float64": [0.0, -0.0, 0.5, 1.5, -2.5, np.nan, np.inf, -np.inf, 1e300, -1e-300, 2.0**53],
    "bool": [True, False],
    "string": ["", "a", "b", "ü", "😀", "a" * 40],
}
NUMBERS = ("int64", "float32", "float64")
FLOATS = ("float32", "float64")
ALL = (*NUMBERS, "bool")
_OPTIONS = onnxruntime.SessionOptions()
_OPTIONS.intra_op_num_threads = 1


def both(op: str, dtype: str, *values: np.ndarray, options: Any = None, arrays: Any = None) -> tuple[np.ndarray, ...]:
    """One instruction of these inputs by numpy and by ONNX Runtime."""
    kinds = ["string" if value.dtype == object else value.dtype.name for value in values]
    names = [f"x{number}" for number in range(len(values))]
    inputs = [Instruction("input", (), kind, {"name": name}) for name, kind in zip(names, kinds, strict=True)]
    last = Instruction(op, tuple(range(len(values))), dtype, options or {}, arrays or {})
    return both_backends((*inputs, last), dict(zip(names, values, strict=True)))


def both_backends(instructions: tuple[Instruction, ...], tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """The last instruction's result by numpy and by ONNX Runtime."""
    defined = np.asarray(Program(instructions, {"y": len(instructions) - 1}).run(tensors)["y"])
    builder = GraphBuilder(instructions)
    emitted: list[str] = []
    for instruction in instructions:
        emitted.append(EMITTERS[instruction.op](builder, instruction, [emitted[i] for i in instruction.inputs]))
    for name, info in builder.inputs.items():
        kind = info.type.tensor_type.elem_type
        builder.inputs[name] = helper.make_tensor_value_info(name, kind, [None] * tensors[name].ndim)
    builder.add_named("Identity", [emitted[-1]], ["y"])
    model = builder.model([helper.make_tensor_value_info("y", TYPES[instructions[-1].dtype], [None] * defined.ndim)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), _OPTIONS)
    fed = {node.name: tensors[node.name] for node in session.get_inputs()}
    return defined, np.asarray(session.run(None, fed)[0])


def assert_same(defined: np.ndarray, emitted: np.ndarray) -> None:
    assert emitted.dtype == defined.dtype
    assert emitted.shape == defined.shape
    if defined.dtype.kind == "f":  # the last bits of a function differ
        close = {"rtol": 1e-6, "atol": 1e-30} if defined.dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-15}
        np.testing.assert_allclose(emitted, defined, **close)
    else:
        np.testing.assert_array_equal(emitted, defined)


def values_of(dtype: str, size: int, random: np.random.Generator) -> np.ndarray:
    """Extremes and common values in an order of their own."""
    extreme = random.permutation(np.array([*EXTREME[dtype], None], dtype=object)[:-1])[:size]
    if dtype == "string":
        common = random.choice(np.array(["", "a", "zz"], dtype=object), size)
    elif dtype == "bool":
        common = random.random(size) < 0.5
    else:
        common = (random.normal(size=size) * 20).astype(dtype)
    common[: len(extreme)] = extreme
    return random.permutation(common)
