"""The item vocabulary inside of a compiled workflow: found by its ids, and replaced."""

from __future__ import annotations

import numpy as np
import pytest

from nextitem_bundle.runtime.features.program import Program
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, NULL, UNKNOWN
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export.catalogue.vocabulary import looks_items_up, sorted_ids, with_vocabulary
from nextitem_export.graphs.features import compile_plan

STRINGS = np.array(["b", "ø", "", "a"], dtype=object)
INTEGERS = np.array([7, 2**60 + 1, NULL_INT64, -3])


@pytest.fixture(scope="module")
def program(plan) -> Program:
    return compile_plan(plan).program


@pytest.fixture(scope="module")
def ids(plan) -> np.ndarray:
    return plan.vocabulary.values


@pytest.mark.parametrize(
    ("given", "keys"),
    [(STRINGS, [b"a", b"b", "ø".encode()]), (INTEGERS, [-3, 7, 2**60 + 1])],
    ids=["strings", "integers"],
)
def test_keys_are_sorted_and_removed_items_are_none(given, keys):
    found, codes = sorted_ids(given)
    assert found.tolist() == keys
    assert codes.tolist() == [6, 3, 4]


def test_the_lookup_of_items_is_told_from_others(program, ids):
    assert looks_items_up(program, ids)
    assert not looks_items_up(program, ids[:-1])
    assert not looks_items_up(program, ids[::-1])


def test_the_same_ids_leave_the_program_as_it_was(program, ids, tmp_path, shop):
    program.save(tmp_path / "before")
    with_vocabulary(program, ids, ids).save(tmp_path / "after")
    before, after = (shop.snapshot(tmp_path / name) for name in ("before", "after"))
    assert before == after


def test_items_are_added_and_removed_in_the_lookup_of_items_alone(program, ids, plan):
    later = np.append(ids, np.array(["a longer id than any before it", "ø-new"], dtype=object))
    later[0] = ""
    changed = with_vocabulary(program, ids, later)
    assert looks_items_up(changed, later)
    asked = [*ids, *later[-2:], "never seen", ""]
    count = len(asked)
    sessions = {
        "item_id": np.array([[item] for item in asked], dtype=object),
        "category": np.arange(count)[:, None] % 5,
        "price": np.ones((count, 1), np.float32),
        "timestamp": np.zeros((count, 1), np.int64),
        "session_length": np.ones((count, 1), np.int64),
    }
    before, after = program.run(sessions), changed.run(sessions)
    due = np.arange(FIRST_ITEM, FIRST_ITEM + count)
    due[[0, -2, -1]] = UNKNOWN, UNKNOWN, NULL
    assert after.pop(plan.item_tensor)[:, 0].tolist() == due.tolist()
    for name, values in after.items():
        np.testing.assert_array_equal(values, before[name])
