from __future__ import annotations

import numpy as np
import pytest

from export.tests.support.both_backends import EXTREME, LIMITS, assert_same, both, both_backends
from nextitem_bundle.runtime.features.program import Instruction
from nextitem_export.workflow.emitters import lookups
from nextitem_export.workflow.emitters.lookups import range_of
from nextitem_export.workflow.expressions import sorted_keys

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
        assert_same(*both_backends((*instructions, last), {"x": x}))


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
