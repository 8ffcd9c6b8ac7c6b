"""Every instruction in numpy, which defines it, against its nodes in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from nextitem_export import UnsupportedWorkflow
from nextitem_export.runtime.kernels import KERNELS
from nextitem_export.runtime.program import Instruction, Program
from nextitem_export.workflow import emit_onnx as _registered
from nextitem_export.workflow.emitters import lookups
from nextitem_export.workflow.emitters.ranges import range_of
from nextitem_export.workflow.expressions import sorted_keys
from nextitem_export.workflow.graph_builder import EMITTERS, TYPES, GraphBuilder, emitter

#: Instructions that only the numpy program has.
NUMPY_ONLY = set(KERNELS) - set(EMITTERS)

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
_OPTIONS = onnxruntime.SessionOptions()
_OPTIONS.intra_op_num_threads = 1
PAIRS = [(op, *case) for op, cases in CASES.items() for case in cases]


def both(op: str, dtype: str, *values: np.ndarray, options: Any = None, arrays: Any = None) -> tuple[np.ndarray, ...]:
    """One instruction of these inputs by numpy and by ONNX Runtime."""
    kinds = ["string" if value.dtype == object else value.dtype.name for value in values]
    names = [f"x{number}" for number in range(len(values))]
    inputs = [Instruction("input", (), kind, {"name": name}) for name, kind in zip(names, kinds, strict=True)]
    last = Instruction(op, tuple(range(len(values))), dtype, options or {}, arrays or {})
    return both_forms((*inputs, last), dict(zip(names, values, strict=True)))


def both_forms(instructions: tuple[Instruction, ...], tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
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
    assert_same(*both_forms(instructions, tensors))


def test_the_hour_is_one_division_after_the_remainder():
    tensors = {"x": np.array([[0, -1, 86_399, 86_400, -86_401, LIMITS.min, LIMITS.max]])}
    instructions = (
        Instruction("input", (), "int64", {"name": "x"}),
        Instruction("constant", (), "int64", {"value": 86_400}),
        Instruction("mod", (0, 1), "int64"),
        Instruction("constant", (), "int64", {"value": 3_600}),
        Instruction("floordiv", (2, 3), "int64"),
    )
    assert_same(*both_forms(instructions, tensors))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 10, 63])
def test_integers_to_the_power_of_a_constant(exponent):
    tensors = {"x": np.array([EXTREME["int64"]])}
    instructions = (
        Instruction("input", (), "int64", {"name": "x"}),
        Instruction("constant", (), "int64", {"value": exponent}),
        Instruction("pow", (0, 1), "int64"),
    )
    assert_same(*both_forms(instructions, tensors))


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
    assert_same(*both_forms(instructions, {}))


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
    assert_same(*both_forms(instructions, tensors))


# Sessions: sorting, windows, sums.

SLICES = [(-4, None), (-2, None), (-9, None), (0, 4), (0, 9), (2, None), (1, 3), (-3, -1), (2, -1), (-1, None), (0, 1)]


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_order(data):
    rows, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 7))
    lengths = np.array(data.draw(st.lists(st.integers(0, width), min_size=rows, max_size=rows)))[:, None]
    keys = []
    for kind in data.draw(st.lists(st.sampled_from(["int64", "float64", "float32"]), min_size=1, max_size=3)):
        few = st.sampled_from(EXTREME[kind])  # few, for ties
        keys.append(
            np.array([data.draw(st.lists(few, min_size=width, max_size=width)) for _ in range(rows)], dtype=kind)
        )
    assert_same(*_of_sessions("order", "int64", lengths, *keys))


def _of_sessions(
    op: str, dtype: str, lengths: np.ndarray, *values: np.ndarray, options: Any = None
) -> tuple[np.ndarray, ...]:
    names = [f"x{number}" for number in range(len(values))]
    instructions = (
        Instruction("input", (), "int64", {"name": "session_length"}),
        *(Instruction("input", (), v.dtype.name, {"name": n}) for n, v in zip(names, values, strict=True)),
        Instruction(op, tuple(range(1 + len(values))), dtype, options or {}),
    )
    tensors = {"session_length": lengths, **dict(zip(names, values, strict=True))}
    return both_forms(instructions, tensors)


@pytest.mark.parametrize("longest", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize(("start", "stop"), SLICES)
def test_windows_hold_the_slice_that_python_gives(start, stop, longest):
    lengths = np.arange(longest + 1)[:, None]
    values = np.arange(len(lengths) * longest).reshape(len(lengths), longest)
    order = np.argsort(np.random.default_rng(0).random(values.shape), axis=1)
    where = {"start": start, "stop": stop, "width": 4}
    instructions = (
        Instruction("input", (), "int64", {"name": "session_length"}),
        Instruction("input", (), "int64", {"name": "x"}),
        Instruction("input", (), "int64", {"name": "order"}),
        Instruction("window", (0,), "int64", where),
        Instruction("take", (1, 2, 3), "int64"),
        Instruction("valid", (0,), "bool", where),
        Instruction("pad", (4, 5), "int64"),
    )
    program = Program(instructions, {"y": 6})
    tensors = {"session_length": lengths, "x": values, "order": order}
    computed = program.run(tensors)["y"]
    session = onnxruntime.InferenceSession(emit(program).SerializeToString())
    assert_same(computed, session.run(None, tensors)[0])
    for row, length in enumerate(lengths[:, 0]):
        kept = values[row][order[row]][:length][start:stop][:4]
        np.testing.assert_array_equal(computed[row, : len(kept)], kept)
        assert not computed[row, len(kept) :].any()


def emit(program: Program) -> Any:
    return _registered.emit_onnx(program, 4)


@pytest.mark.parametrize("kind", ["count", "sum", "min", "max"])
@pytest.mark.parametrize("dtype", ALL)
def test_reduce(kind, dtype):
    if kind == "sum" and dtype != "float64":
        pytest.skip("sums are computed in float64")
    random = np.random.default_rng(0)
    values = values_of(dtype, 24, random).reshape(4, 6)
    if kind == "sum":
        values = np.nan_to_num(values, posinf=1, neginf=-1) / 1e290
    counted = random.random((4, 6)) < 0.7
    counted[0] = False
    if dtype.startswith("float"):
        counted &= ~np.isnan(values)
    defined, emitted = both("reduce", "int64" if kind == "count" else dtype, values, counted, options={"kind": kind})
    assert_same(defined, emitted)


def test_within():
    defined, emitted = _within(np.array([[0], [2], [3]]), np.zeros((3, 3)))
    assert_same(defined, emitted)
    np.testing.assert_array_equal(defined, [[False] * 3, [True, True, False], [True] * 3])


def _within(lengths: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
    instructions = (
        Instruction("input", (), "float64", {"name": "x"}),
        Instruction("input", (), "int64", {"name": "session_length"}),
        Instruction("within", (0, 1), "bool"),
    )
    tensors = {"x": values, "session_length": lengths}
    return both_forms(instructions, tensors)


# Lookups.

KEYS = [
    [],
    [5],
    [0],
    [0, 1, 2, 3],
    [1, 2, 4],
    [-3, -2, -1],
    [1000, 1001, 1003],
    [-(2**40), 7, 2**40],
    [LIMITS.min, LIMITS.min + 1],
    [LIMITS.min + 1, LIMITS.min + 2],
    [LIMITS.max - 1, LIMITS.max],
    [LIMITS.max - 2, LIMITS.max - 1],
    [LIMITS.min, 0, LIMITS.max],
    [LIMITS.min, 5, 6, 8],
    [LIMITS.min, -8, -6],
]


@pytest.mark.parametrize("dense_from", [1, 100_000], ids=["dense where compact", "hash tables"])
@pytest.mark.parametrize("values_dtype", ["int64", "float64", "float32"])
@pytest.mark.parametrize("op", ["lookup", "encode"])
@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_integer_lookups_up_to_the_limits(op, keys, values_dtype, dense_from, monkeypatch):
    monkeypatch.setattr(lookups, "DENSE_FROM", dense_from)
    table = sorted_keys(np.array(keys, dtype=np.int64), np.arange(10, 10 + len(keys)).astype(values_dtype))
    near = [key + step for key in keys for step in (-2, -1, 0, 1, 2) if LIMITS.min <= key + step <= LIMITS.max]
    asked = np.array([[*EXTREME["int64"], *near, 3, 4]])
    defined, emitted = both(op, values_dtype, asked, options={"default": -5}, arrays=table)
    assert_same(defined, emitted)
    beside = dict(zip(keys, range(10, 10 + len(keys)), strict=True))
    assert defined[0].tolist() == [beside.get(key, -5) for key in asked[0].tolist()]


def test_many_compact_integers_have_a_dense_table():
    keys = np.arange(lookups.DENSE_FROM) * 3 + 7
    assert lookups.is_dense(keys)
    assert lookups.is_dense(np.append(keys, LIMITS.min))
    assert not lookups.is_dense(keys[:-1])
    assert not lookups.is_dense(keys * 5)
    table = sorted_keys(np.append(keys, LIMITS.min), np.append(np.arange(len(keys)), -1))
    asked = np.array([[7, 8, 10, keys[-1], keys[-1] + 1, 6, 0, *EXTREME["int64"]]])
    assert_same(*both("encode", "int64", asked, options={"default": -5}, arrays=table))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("mod", 7)], (0, 6)),
        ([("mod", 7), ("add", 3), ("mul", -2)], (-18, -6)),
        ([("mod", 86_400), ("floordiv", 3_600)], (0, 23)),
        ([("mod", 86_400), ("sub", 400), ("floordiv", 3_600)], (-1, 23)),
        ([("mod", LIMITS.max), ("mul", 2)], None),
        ([("mod", -7)], None),
        ([("add", 1)], None),
    ],
    ids=str,
)
def test_lookups_of_few_possible_values_have_a_table_of_them_all(steps, expected):
    instructions = [Instruction("input", (), "int64", {"name": "x"})]
    for op, value in steps:
        last = len(instructions) - 1
        instructions.append(Instruction("constant", (), "int64", {"value": value}))
        instructions.append(Instruction(op, (last, last + 1), "int64"))
    assert range_of(instructions, len(instructions) - 1) == expected
    table = sorted_keys(np.array([-16, -6, 3, 5, 23]), np.array([1, 2, 3, 4, 5]))
    for op in ("lookup", "encode"):
        last = Instruction(op, (len(instructions) - 1,), "int64", {"default": 0}, table)
        x = np.array([[*EXTREME["int64"], 3, 5, 6, 80_000, 86_399]])
        assert_same(*both_forms((*instructions, last), {"x": x}))


def test_ranges_of_other_instructions():
    table = sorted_keys(np.array([1, 2]), np.array([7, 9]))
    instructions = (
        Instruction("input", (), "bool", {"name": "x"}),
        Instruction("cast", (0,), "int64"),
        Instruction("encode", (1,), "int64", {"default": 2}, table),
        Instruction("where", (0, 1, 2), "int64"),
        Instruction("cast", (1,), "float64"),
    )
    assert [range_of(instructions, number) for number in range(5)] == [(0, 1), (0, 1), (2, 9), (0, 9), None]


def test_truth_values_are_looked_up_as_integers():
    table = sorted_keys(np.array([0, 1]), np.array([7, 8]))
    defined, emitted = both("encode", "int64", np.array([[True, False]]), options={"default": 2}, arrays=table)
    assert_same(defined, emitted)
    assert defined.tolist() == [[8, 7]]


@pytest.mark.parametrize("keys", [[], ["a"], ["b", "", "a", "ü", "a" * 40, "😀"], ["a\0", "a"]], ids=str)
def test_string_lookups(keys):
    table = sorted_keys(np.array([*keys, None], dtype=object)[:-1], np.arange(3, 3 + len(keys)))
    asked = np.array([[*EXTREME["string"], "aa", "ab", "A"]], dtype=object)
    defined, emitted = both("encode", "int64", asked, options={"default": 2}, arrays=table)
    assert_same(defined, emitted)
    beside = dict(zip(keys, range(3, 3 + len(keys)), strict=True))
    assert defined[0].tolist() == [beside.get(key, 2) for key in asked[0]]


@pytest.mark.parametrize("boundaries", [[0.0], [-1.5, 0.0, 2.0, 1e9]])
def test_bucketize(boundaries):
    asked = np.array([EXTREME["float64"]])
    defined, emitted = both("bucketize", "int64", asked, arrays={"boundaries": np.array(boundaries)})
    assert_same(defined, emitted)
    assert defined[0, EXTREME["float64"].index(0.0)] == boundaries.index(0.0) + 1


def test_registering_an_emitter_twice_is_an_error():
    with pytest.raises(ValueError, match="instruction 'add' has an emitter already"):
        emitter("add")(lambda *_: "")
