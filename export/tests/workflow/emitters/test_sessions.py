from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.tests.support.both_backends import ALL, EXTREME, assert_same, both, both_backends, values_of
from nextitem_bundle.runtime.features.program import Instruction, Program
from nextitem_export.workflow.emit_onnx import emit_onnx

# Sessions: sorting, windows, sums.

SLICES = [(-4, None), (-2, None), (-9, None), (0, 4), (0, 9), (2, None), (1, 3), (-3, -1), (2, -1), (-1, None), (0, 1)]


@given(data=st.data())
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
    return both_backends(instructions, tensors)


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
    return emit_onnx(program, 4)


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
    return both_backends(instructions, tensors)
