"""The item vocabulary inside of a compiled workflow: where it is looked up, and another one in its place."""

from __future__ import annotations

import dataclasses

import numpy as np

from nextitem_bundle.runtime.features.program import Instruction, Program
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING


def looks_items_up(program: Program, ids: np.ndarray) -> bool:
    """Whether an instruction has raw ids by code, object or int64 [V - 3], for keys and the codes beside them."""
    keys, codes = sorted_ids(ids)
    return any(_has(instruction, keys, codes) for instruction in program.instructions)


def with_vocabulary(program: Program, before: np.ndarray, after: np.ndarray) -> Program:
    """The program with other items. before, after: raw ids by code from 3, null for removed ones."""
    keys, codes = sorted_ids(before)
    new_keys, new_codes = sorted_ids(after)
    instructions = tuple(
        _replaced(instruction, new_keys, new_codes) if _has(instruction, keys, codes) else instruction
        for instruction in program.instructions
    )
    return dataclasses.replace(program, instructions=instructions)


def sorted_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys, UTF-8 bytes or int64, sorted, and the code of each; without removed items."""
    codes = np.arange(FIRST_ITEM, FIRST_ITEM + len(ids))
    listed = ids != (NULL_STRING if ids.dtype == object else NULL_INT64)
    ids, codes = ids[listed], codes[listed]
    keys = np.array([value.encode() for value in ids.tolist()], dtype=np.bytes_) if ids.dtype == object else ids
    order = np.argsort(keys, kind="stable")
    return keys[order], codes[order]


def _nulls(keys: np.ndarray) -> np.ndarray:
    return keys == (NULL_STRING.encode() if keys.dtype.kind == "S" else NULL_INT64)


def _has(instruction: Instruction, keys: np.ndarray, codes: np.ndarray) -> bool:
    if "keys" not in instruction.arrays or instruction.arrays["values"].dtype.kind != "i":
        return False
    there = ~_nulls(instruction.arrays["keys"])
    own_keys, own_codes = instruction.arrays["keys"][there], instruction.arrays["values"][there]
    return (
        own_keys.dtype.kind == keys.dtype.kind and np.array_equal(own_keys, keys) and np.array_equal(own_codes, codes)
    )


def _replaced(instruction: Instruction, keys: np.ndarray, codes: np.ndarray) -> Instruction:
    old_keys, old_values = instruction.arrays["keys"], instruction.arrays["values"]
    null = _nulls(old_keys)  # a key of its own, and before all others
    width = max(keys.dtype, old_keys[null].dtype, key=lambda dtype: dtype.itemsize)
    arrays = {
        "keys": np.concatenate([old_keys[null].astype(width), keys.astype(width)]),
        "values": np.concatenate([old_values[null], codes.astype(old_values.dtype)]),
    }
    return dataclasses.replace(instruction, arrays={**instruction.arrays, **arrays})
