"""The beginning of a native features graph: a request as it comes is checked, what was not sent is filled in.

An ONNX graph cannot raise. But a Gather beyond its data fails, ONNX Runtime's error names the node and the index, and Triton
hands that error on: so the node's name is the sentence and the index is what came. The checks themselves stand in a branch that
runs only where something is wrong, so that a good request pays for finding that out and for no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from onnx import TensorProto

from nextitem_bundle.runtime.signature import Signature
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .builder import Branch, NativeBuilder

#: Behind each sentence ONNX Runtime says: "indices element out of data bounds, idx=…".
_CAME = "; idx is what came"
_WIRE = {"BYTES": "string", "INT64": "int64", "FP32": "float32"}


@dataclasses.dataclass(frozen=True)
class Checked:
    """Tensors of a checked request, by the names that they have in the graph.

    sessions: B, int64 [1]. lengths: int64 [B, 1]. flags: `exclude_seen`, bool [B, 1]. top_k: int64 [1].
    """

    sessions: str
    lengths: str
    flags: str
    top_k: str


def check_request(builder: NativeBuilder, signature: Signature, top_k: str) -> Checked:
    """Add the request's tensors and all checks but those of the filters' lists; `top_k` is the name of the checked one.

    The builder's columns and width are set: floats have NaN for null, padding holds what came.
    """
    features = [feature.name for feature in signature.features]
    for feature in signature.features:
        builder.optional(feature.name, _WIRE[feature.datatype], ("B", "T"), (0, 0))
    shapes = [builder.add("Shape", name) for name in features]
    sessions = builder.add("Shape", features[0], start=0, end=1)
    builder.width = builder.add("Shape", features[0], start=1, end=2)
    lengths, wanted, flags = _options(builder, signature, sessions)
    width = builder.add("Cast", builder.width, to=TensorProto.INT32)
    floats = [feature.name for feature in signature.features if feature.kind == "float"]

    first_wanted = builder.add("Slice", wanted, builder.constant([0]), builder.constant([1]))
    wrong = builder.add(
        "Concat",
        _wrong_shapes(builder, shapes, signature),
        _outside(builder, lengths, np.int32(0), width),
        _outside(builder, wanted, np.int32(1), builder.constant(np.int32(signature.top_k_limit)), first_wanted),
        *(_flat(builder, builder.add("IsInf", name)) for name in floats),
        axis=0,
    )
    # A sum, since it is right for nothing as well; and of what is infinite in padding, the checks find nothing wrong.
    faults = builder.add("ReduceSum", builder.add("Cast", wrong, to=TensorProto.INT32), keepdims=0)
    good, bad = builder.branch(), builder.branch()
    found = _guarded(bad, signature, shapes, sessions, lengths, wanted, floats)
    results = [
        [
            branch.result(_added(branch, branch.add("Cast", lengths, to=TensorProto.INT64), nothing), "int64"),
            branch.result(_added(branch, _integers(branch, first_wanted), nothing), "int64"),
        ]
        for branch, nothing in ((bad, found), (good, None))
    ]
    checked = Checked(sessions, "checked_lengths", flags, top_k)
    builder.choose(
        builder.add("Cast", faults, to=TensorProto.BOOL), bad, good, [checked.lengths, checked.top_k], values=results
    )
    builder.columns |= {feature.name: feature.name for feature in signature.features}
    builder.columns |= {name: _with_nan(builder, name) for name in floats}
    builder.columns["session_length"] = checked.lengths
    return checked


def _options(builder: NativeBuilder, signature: Signature, sessions: str) -> Iterator[str]:
    """`session_length` and `top_k`, int32 [B, 1], and `exclude_seen`, bool [B, 1], or what stands for them."""
    width = builder.add("Squeeze", builder.add("Cast", builder.width, to=TensorProto.INT32))
    options = {
        "session_length": ("int32", width, "one length per session"),
        "top_k": (
            "int32",
            builder.constant(np.int32(signature.top_k_default)),
            "the number of items wanted, once per session",
        ),
        "exclude_seen": ("bool", builder.constant(np.False_), "one flag per session"),
    }
    one, three = builder.constant([1]), builder.constant([1, 1, 1])
    rows: list[str] = []
    for name, (dtype, _, _) in options.items():
        builder.optional(name, dtype, (f"B_{name}", 1), (0, 1))
        rows.append(builder.add("Shape", name, start=0, end=1))
    # Rows to be added, [0, 0, n, 0] for each option: as many as there are sessions where it was not sent, else none.
    marks = builder.add("Concat", one, one, rows[0], three, rows[1], three, rows[2], one, axis=0)
    unsent = builder.add("Cast", builder.add("Equal", marks, builder.constant([0])), to=TensorProto.INT64)
    split = [f"{name}_rows" for name in options]
    builder.add_named("Split", [builder.add("Mul", unsent, sessions)], split, axis=0)
    shape = builder.add("Concat", sessions, one, axis=0)
    for (name, (_, default, meaning)), missing in zip(options.items(), split, strict=True):
        filled = builder.add("Pad", name, missing, default)
        yield builder.sentence(
            f"input '{name}' has another number of rows than the request has sessions, expected [sessions, 1]: {meaning}",
            "Reshape",
            [filled, shape],
        )


def _wrong_shapes(builder: NativeBuilder, shapes: list[str], signature: Signature) -> str:
    """bool [2 F]: which of the features' dimensions are not the first one's or are beyond the limits."""
    limits = np.array([signature.max_sessions_per_request, signature.max_interactions_per_session] * len(shapes))
    came, due = (builder.add("Concat", *names, axis=0) for names in (shapes, shapes[:1] * len(shapes)))
    due = builder.add("Min", builder.add("Max", due, builder.constant([1])), builder.constant(limits))
    return builder.add("Not", builder.add("Equal", came, due))


def _outside(builder: NativeBuilder, values: str, low: np.int32, high: str, first: str | None = None) -> str:
    """bool [B] of int32 [B, 1]: what is below or above, or not the first one where that is given."""
    kept = builder.add("Min", builder.add("Max", first or values, builder.constant(low)), high)
    return _flat(builder, builder.add("Not", builder.add("Equal", values, kept)))


def _with_nan(builder: NativeBuilder, name: str) -> str:
    null = builder.add("Equal", name, builder.constant(np.float32(LOWEST_FLOAT32)))
    return builder.add("Where", null, builder.constant(np.float32(np.nan)), name)


def _flat(builder: NativeBuilder, name: str) -> str:
    return builder.add("Reshape", name, builder.constant([-1]))


def _integers(builder: NativeBuilder, name: str) -> str:
    return builder.add("Cast", _flat(builder, name), to=TensorProto.INT64)


def _added(branch: Branch, value: str, nothing: str | None) -> str:
    return branch.add("Add", value, nothing) if nothing else value


def guard(branch: Branch, before: str, sentence: str, bad: str, values: str) -> str:
    """Fails with the sentence and the first bad value, if there is one; returns int64 [1], zero.

    before: what an earlier guard returned, so that the first of several faults is told. bad: bool [N]. values: int64 [N].
    """
    zero, one = branch.constant([0]), branch.constant([1])
    # One more that is good: nothing can be found in an empty list.
    good = branch.constant(np.array([0], dtype=np.int32))
    counted = branch.add("Concat", branch.add("Cast", bad, to=TensorProto.INT32), good, axis=0)
    values = branch.add("Concat", branch.add("Add", values, before), zero, axis=0)
    first = branch.add("Gather", values, branch.add("ArgMax", counted, axis=0, keepdims=1))
    none = branch.add("Equal", branch.add("ReduceSum", counted, keepdims=1), good)
    # What is gathered from is empty where there is a fault: then any index is beyond it.
    data = branch.add("Slice", zero, zero, branch.add("Where", none, one, zero))
    return branch.sentence(sentence, "Gather", [data, branch.add("Where", none, zero, first)])


def _guarded(
    branch: Branch,
    signature: Signature,
    shapes: list[str],
    sessions: str,
    lengths: str,
    wanted: str,
    floats: list[str],
) -> str:
    """All guards, in the order in which the Python runtime checks; int64 [1], zero."""
    passed = _guarded_shapes(branch, signature, shapes, sessions)
    zero, one = branch.constant([0]), branch.constant([1])
    length, width = _integers(branch, lengths), branch.add("Add", branch.width, passed)
    below, above = branch.add("Less", length, zero), branch.add("Greater", length, width)
    passed = guard(
        branch,
        passed,
        "input 'session_length' is below 0 or above the number of interactions that the features have" + _CAME,
        branch.add("Or", below, above),
        length,
    )
    k = _integers(branch, wanted)
    first = branch.add("Slice", k, zero, one)
    passed = guard(
        branch,
        passed,
        "input 'top_k' has several values, expected one value for the whole request: send sessions that want other numbers "
        "of items in requests of their own; idx is one that differs from the first",
        branch.add("Not", branch.add("Equal", k, first)),
        k,
    )
    limit = branch.constant([signature.top_k_limit])
    passed = guard(
        branch,
        passed,
        f"input 'top_k' is out of range, expected 1 to {signature.top_k_limit}, the limit set at export" + _CAME,
        branch.add("Or", branch.add("Less", first, one), branch.add("Greater", first, limit)),
        first,
    )
    for name in floats:
        passed = _guarded_floats(branch, passed, name, lengths)
    return passed


def _guarded_shapes(branch: Branch, signature: Signature, shapes: list[str], sessions: str) -> str:
    features = [feature.name for feature in signature.features]
    passed, zero, one = branch.constant([0]), branch.constant([0]), branch.constant([1])
    for name, shape in zip(features, shapes, strict=True):
        rows = branch.add("Slice", shape, zero, one)
        listed = ", ".join(f"'{feature}'" for feature in features)
        passed = guard(
            branch,
            passed,
            f"missing input '{name}', or no session in it: a request needs {listed}, each of shape [sessions, interactions]",
            branch.add("Equal", rows, zero),
            rows,
        )
    for name, shape in list(zip(features, shapes, strict=True))[1:]:
        passed = guard(
            branch,
            passed,
            f"input '{name}' has another shape than input '{features[0]}': all features of a request share one shape "
            "[sessions, interactions]; pad shorter sessions on the right and give their lengths in 'session_length'; idx is "
            f"the dimension of '{name}' that differs",
            branch.add("Not", branch.add("Equal", shape, shapes[0])),
            shape,
        )
    passed = guard(
        branch,
        passed,
        "the features have no interactions, expected at least one session and one interaction; an empty session is sent as "
        "one padded interaction with 'session_length' 0",
        branch.add("Equal", branch.width, zero),
        branch.width,
    )
    limits = (
        (sessions, signature.max_sessions_per_request, "sessions in one request", "send several requests"),
        (
            branch.width,
            signature.max_interactions_per_session,
            "interactions per session",
            f"send the newest, the model reads {signature.window}",
        ),
    )
    for size, limit, what, remedy in limits:
        beyond = branch.add("Greater", size, branch.constant([limit]))
        passed = guard(branch, passed, f"too many {what}, at most {limit} are allowed: {remedy}{_CAME}", beyond, size)
    return passed


def _guarded_floats(branch: Branch, passed: str, name: str, lengths: str) -> str:
    rows = branch.add("Shape", name, start=0, end=1)
    # After the guards of shapes: only then do the two have the same.
    width = branch.add("Squeeze", branch.add("Add", branch.width, passed))
    places = branch.add("Range", branch.constant(np.array(0)), width, branch.constant(np.array(1)))
    valid = branch.add("Less", places, branch.add("Cast", lengths, to=TensorProto.INT64))
    infinite = branch.add("Cast", branch.add("And", branch.add("IsInf", name), valid), to=TensorProto.INT64)
    infinite = branch.add("ReduceSum", infinite, branch.constant([1]), keepdims=0)
    ranks = branch.add("Range", branch.constant(np.array(0)), branch.add("Squeeze", rows), branch.constant(np.array(1)))
    return guard(
        branch,
        passed,
        f"input '{name}' is infinite, expected a finite number; send NaN or {LOWEST_FLOAT32:.8g} where there is none; idx "
        "is the session",
        branch.add("Cast", infinite, to=TensorProto.BOOL),
        ranks,
    )
