"""Every instruction in numpy, which defines it, against its nodes in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from export.tests.support.both_backends import (
    ALL,
    EXTREME,
    FLOATS,
    LIMITS,
    NUMBERS,
    assert_same,
    both,
    both_backends,
    values_of,
)
from nextitem_bundle.runtime.features.kernels import KERNELS
from nextitem_bundle.runtime.features.program import Instruction
from nextitem_export import UnsupportedWorkflow
from nextitem_export.workflow.graph_builder import EMITTERS, emitter

#: Instructions that only the numpy program has.
NUMPY_ONLY = {"hash_string"}

# Which dtypes an instruction may see: each input's, and the result's where it is not that of the last input.
CASES: dict[str, list[tuple[tuple[str, ...], str | None]]] = {
    **{op: [((d, d), None) for d in ALL] for op in ("add", "mul", "minimum", "maximum")},
    **{op: [((d, d), None) for d in NUMBERS] for op in ("sub", "mod", "floordiv")},
    **{op: [((d, d), None) for d in FLOATS] for op in ("div", "pow")},
    **{op: [((d,), None) for d in NUMBERS] for op in ("neg", "sign")},
    **{
        op: [((d,), None) for d in FLOATS]
        for op in ("exp", "log", "sqrt", "sin", "cos", "tanh", "floor", "ceil", "round")
    },
    **{op: [((d, d), "bool") for d in ALL] for op in ("eq", "ne", "lt", "le", "gt", "ge")},
    "abs": [((d,), None) for d in ALL],
    "and": [(("bool", "bool"), None)],
    "or": [(("bool", "bool"), None)],
    "not": [(("bool",), None)],
    "where": [(("bool", d, d), None) for d in (*ALL, "string")],
    "cast": [((one,), two) for one in ALL for two in (*ALL, "int32")],
    "is_null": [((d,), "bool") for d in (*NUMBERS, "string")],
}
#: Instructions that have tests of their own below.
APART = {
    "input",
    "constant",
    "order",
    "window",
    "valid",
    "take",
    "pad",
    "within",
    "reduce",
    "lookup",
    "encode",
    "bucketize",
}
PAIRS = [(op, *case) for op, cases in CASES.items() for case in cases]


def signatures() -> Iterator[Any]:
    for op, kinds, result in PAIRS:
        yield pytest.param(op, kinds, result or kinds[-1], id=f"{op}-{'-'.join(kinds)}-{result or kinds[-1]}")


def test_each_instruction_is_tested_in_both_forms():
    assert set(CASES) | APART == set(EMITTERS)
    assert set(EMITTERS) | NUMPY_ONLY == set(KERNELS)
    assert not set(EMITTERS) & NUMPY_ONLY


@pytest.mark.parametrize(("op", "kinds", "result"), signatures())
@pytest.mark.parametrize("rows", [0, 1, 30])
def test_elementwise(op, kinds, result, rows):
    if op == "cast" and kinds[0].startswith("float") and result.startswith("int"):
        rows = min(rows, 1)  # NaN and what is beyond have no integer: undefined in both
    random = np.random.default_rng([len(op), rows])
    width = 1 if rows == 0 else 8
    values = [values_of(kind, rows * width, random).reshape(rows, width) for kind in kinds]
    if rows == 1 and result.startswith("int") and op == "cast":
        values = [np.nan_to_num(np.clip(values[0].astype(np.float64), -1e9, 1e9)).astype(kinds[0])]
    defined, emitted = both(op, result, *values)
    assert_same(defined, emitted)


@pytest.mark.parametrize("divisor", [-7, -1, 0, 1, 3, 86_400 * 10**9, LIMITS.min, LIMITS.max])
@pytest.mark.parametrize("op", ["mod", "floordiv"])
def test_division_by_a_constant(op, divisor):
    tensors = {"x": np.array([EXTREME["int64"]])}
    instructions = (
        Instruction("input", (), "int64", {"name": "x"}),
        Instruction("constant", (), "int64", {"value": divisor}),
        Instruction(op, (0, 1), "int64"),
    )
    assert_same(*both_backends(instructions, tensors))


def test_the_hour_is_one_division_after_the_remainder():
    tensors = {"x": np.array([[0, -1, 86_399, 86_400, -86_401, LIMITS.min, LIMITS.max]])}
    instructions = (
        Instruction("input", (), "int64", {"name": "x"}),
        Instruction("constant", (), "int64", {"value": 86_400}),
        Instruction("mod", (0, 1), "int64"),
        Instruction("constant", (), "int64", {"value": 3_600}),
        Instruction("floordiv", (2, 3), "int64"),
    )
    assert_same(*both_backends(instructions, tensors))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 10, 63])
def test_integers_to_the_power_of_a_constant(exponent):
    tensors = {"x": np.array([EXTREME["int64"]])}
    instructions = (
        Instruction("input", (), "int64", {"name": "x"}),
        Instruction("constant", (), "int64", {"value": exponent}),
        Instruction("pow", (0, 1), "int64"),
    )
    assert_same(*both_backends(instructions, tensors))


def test_integers_to_the_power_of_a_column_are_refused():
    with pytest.raises(
        UnsupportedWorkflow, match="power of another column is not compiled, expected a number from 0 to 63"
    ):
        both("pow", "int64", np.array([[2]]), np.array([[3]]))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int64", LIMITS.min), ("float32", 1.5), ("float64", None), ("bool", True), ("string", "é")],
)
def test_constants(dtype, value):
    instructions = (Instruction("constant", (), dtype, {"value": value}),)
    assert_same(*both_backends(instructions, {}))


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("place", [1, 2])
def test_choosing_between_truth_values_one_of_which_is_constant(chosen, place):
    tensors = {"c": np.array([[True, True, False, False]]), "x": np.array([[True, False, True, False]])}
    fixed, column = (
        Instruction("constant", (), "bool", {"value": chosen}),
        Instruction("input", (), "bool", {"name": "x"}),
    )
    sides = (fixed, column) if place == 1 else (column, fixed)
    instructions = (Instruction("input", (), "bool", {"name": "c"}), *sides, Instruction("where", (0, 1, 2), "bool"))
    assert_same(*both_backends(instructions, tensors))


def test_registering_an_emitter_twice_is_an_error():
    with pytest.raises(ValueError, match="instruction 'add' has an emitter already"):
        emitter("add")(lambda *_: "")
