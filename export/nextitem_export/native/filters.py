"""The filters of a native features graph: raw ids that a request lists, as codes that the ranker reads."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from nextitem_bundle.runtime.codes import FIRST_ITEM, PADDING, UNKNOWN
from nextitem_bundle.runtime.filters import WIDTHS
from nextitem_bundle.runtime.program import Instruction
from nextitem_bundle.runtime.signature import Signature
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from ..workflow.graph_builder import EMITTERS
from .builder import Branch, NativeBuilder
from .request import Checked, guard

EXCLUDE, ALLOW = "exclude_item_ids", "allow_item_ids"


def encode_filters(
    builder: NativeBuilder, checked: Checked, signature: Signature, values: np.ndarray, outputs: tuple[str, str]
) -> None:
    """Add the codes that each session excludes and those that it allows, int64 [B, P] padded with 0, under these names.

    values: raw ids [V - 3] by code from 3, int64 or object array of str. What the Python runtime gives, but for the order of
    the codes; and a session may list a code twice where no list is longer than the narrowest width.
    """
    dtype = "string" if values.dtype == object else "int64"
    for name in (EXCLUDE, ALLOW):
        builder.optional(name, dtype, (f"B_{name}", f"E_{name}"), (0, 0))
    flags = builder.add("ReduceSum", builder.add("Cast", checked.flags, to=TensorProto.INT64), keepdims=0)
    listed = builder.add("Add", builder.add("Size", EXCLUDE), builder.add("Size", ALLOW))
    asked = builder.add("Cast", builder.add("Add", listed, flags), to=TensorProto.BOOL)
    none = builder.branch()
    shape = none.add("Concat", checked.sessions, none.constant([WIDTHS[0]]), axis=0)
    padding = none.add("Expand", none.constant([[PADDING]]), shape)
    some = builder.branch([Instruction("input", (), dtype, {"name": "ids"})])
    lists = _lists(some, checked, signature, values)
    values_of = [
        [branch.result(value, "int64") for value in given] for branch, given in ((some, lists), (none, [padding] * 2))
    ]
    builder.choose(asked, some, none, outputs, values=values_of)


def _lists(branch: Branch, checked: Checked, signature: Signature, values: np.ndarray) -> list[str]:
    zero, one = branch.constant([0]), branch.constant([1])
    sent = {name: _rows(branch, name, checked.sessions) for name in (EXCLUDE, ALLOW)}
    # The items of the sessions, where one of them wants what it has seen left out.
    flagged = branch.add("ReduceSum", branch.add("Cast", checked.flags, to=TensorProto.INT64), keepdims=0)
    any_flag = branch.add("Cast", branch.add("Cast", flagged, to=TensorProto.BOOL), to=TensorProto.INT64)
    seen_width = branch.add("Mul", branch.width, any_flag)
    seen = branch.add("Slice", signature.item_column, zero, seen_width, one)
    excluded_width, allowed_width = (branch.add("Shape", name, start=1, end=2) for name in (EXCLUDE, ALLOW))
    # Through one table, which a large catalogue makes large.
    joined = branch.add("Concat", sent[EXCLUDE], seen, sent[ALLOW], axis=1)
    codes = EMITTERS["lookup"](branch, _lookup(values), [joined])
    left = branch.add("Add", excluded_width, seen_width)
    halves = [f"{branch.prefix}{name}_codes" for name in (EXCLUDE, ALLOW)]
    branch.add_named("Split", [codes, branch.add("Concat", left, allowed_width, axis=0)], halves, axis=1)
    excluded, allowed = halves
    kept = _kept(branch, checked, excluded_width, left)
    kept = branch.add("And", kept, branch.add("Not", branch.add("Equal", excluded, branch.scalar(UNKNOWN, "int64"))))
    excluded = branch.add("Where", kept, excluded, branch.scalar(PADDING, "int64"))
    return _padded(branch, [excluded, allowed], [left, allowed_width], checked.sessions)


def _rows(branch: Branch, name: str, sessions: str) -> str:
    """The list as it came, [B, E]; E is 0 where it was not sent."""
    shape = branch.add("Concat", sessions, branch.add("Shape", name, start=1, end=2), axis=0)
    sentence = (
        f"input '{name}' has another number of rows than the request has sessions, expected [sessions, ids]: one row of item "
        "ids per session, filled with null"
    )
    return branch.sentence(sentence, "Reshape", [name, shape])


def _lookup(values: np.ndarray) -> Instruction:
    """From raw ids to codes: PADDING for null, UNKNOWN for what is not in the catalogue."""
    strings = values.dtype == object
    keys = np.array([v.encode() for v in values.tolist()], dtype=np.bytes_) if strings else values
    order = np.argsort(keys, kind="stable")
    null = NULL_STRING.encode() if strings else NULL_INT64
    arrays = {
        "keys": np.insert(keys[order], 0, null),
        "values": np.insert(order + FIRST_ITEM, 0, PADDING),
    }
    return Instruction("lookup", (0,), "int64", {"default": UNKNOWN}, arrays)


def _kept(branch: Branch, checked: Checked, listed: str, both: str) -> str:
    """bool [B, E + S]: what is listed, and what is no padding in the sessions that want theirs left out."""
    places = branch.add(
        "Range", branch.constant(np.array(0)), branch.add("Squeeze", both), branch.constant(np.array(1))
    )
    ranks = branch.add("Sub", places, listed)
    seen = branch.add("And", branch.add("Less", ranks, checked.lengths), checked.flags)
    return branch.add("Or", branch.add("Less", places, listed), seen)


def _padded(branch: Branch, lists: list[str], widths: list[str], sessions: str) -> list[str]:
    """Both lists in a width of WIDTHS: the first one as they are, a wider one after each code was taken once."""
    widest = branch.add("Max", *widths)
    fits = branch.add("Squeeze", branch.add("LessOrEqual", widest, branch.constant([WIDTHS[0]])))
    plain, long = branch.branch(), branch.branch()
    padded = [
        plain.result(_widened(plain, codes, width, plain.constant([WIDTHS[0]])), "int64")
        for codes, width in zip(lists, widths, strict=True)
    ]
    compact = [
        long.result(_compact(long, name, codes, width, sessions), "int64")
        for name, codes, width in zip((EXCLUDE, ALLOW), lists, widths, strict=True)
    ]
    outputs = [f"{branch.prefix}{name}_padded" for name in (EXCLUDE, ALLOW)]
    branch.choose(fits, plain, long, outputs, values=[padded, compact])
    return outputs


def _widened(branch: Branch, codes: str, width: str, due: str) -> str:
    missing = branch.add("Sub", due, width)
    return branch.add("Pad", codes, branch.add("Concat", branch.constant([0, 0, 0]), missing, axis=0))


def _compact(branch: Branch, name: str, codes: str, width: str, sessions: str) -> str:
    """Each code once, the padding last, in the width that the longest list takes."""
    zero, one = branch.constant([0]), branch.constant([1])
    ordered = _falling(branch, codes, width)
    before = branch.add("Pad", ordered, branch.constant([0, 1, 0, -1]), branch.scalar(-1, "int64"))
    again = branch.add("Equal", ordered, before)
    once = _falling(branch, branch.add("Where", again, branch.scalar(PADDING, "int64"), ordered), width)
    listed = branch.add("Cast", branch.add("Cast", once, to=TensorProto.BOOL), to=TensorProto.INT64)
    counts = branch.add("ReduceSum", listed, one, keepdims=0)
    sentence = (
        f"input '{name}' has more different items for a session than the {WIDTHS[-1]} that are allowed (with exclude_seen, "
        "those of the session count too): list items that nobody may get in the bundle's availability list; idx is how many"
    )
    passed = guard(branch, zero, sentence, branch.add("Greater", counts, branch.constant([WIDTHS[-1]])), counts)
    longest = f"{branch.prefix}{name}_longest"
    branch.add_named("TopK", [branch.add("Add", counts, passed), one], [longest, f"{longest}_at"], axis=0)
    narrower = branch.add("Less", branch.constant(np.array(WIDTHS)), longest)
    chosen = branch.add("ReduceSum", branch.add("Cast", narrower, to=TensorProto.INT64), keepdims=1)
    due = branch.add("Gather", branch.constant(np.array(WIDTHS)), chosen)
    there = branch.add("Min", width, due)
    return _widened(branch, branch.add("Slice", once, zero, there, one), there, due)


def _falling(branch: Branch, codes: str, width: str) -> str:
    name = f"{branch.prefix}falling_{len(branch.nodes)}"
    branch.add_named("TopK", [codes, width], [name, f"{name}_at"], axis=1, largest=1, sorted=1)
    return name
