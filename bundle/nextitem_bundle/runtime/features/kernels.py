"""What each instruction of a compiled workflow means, in numpy: the definition that the ONNX graph is held to.

Shapes: raw columns are [B, T], one row a session, padded on the right. `order` sorts the interactions of each session,
`newest` picks a window of them, `take` brings a raw column into that window [B, W]; from there on all is elementwise.

Null: NaN in floats, the empty string, the smallest int64 in integers and date-times. Arithmetic on integers does not know
null: the compiler asks `is_null` of the raw column and puts null back where it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..wire import NULL_INT64, NULL_STRING

if TYPE_CHECKING:
    from ..request import Array
    from .program import Instruction

Kernel = Callable[..., "Array"]
KERNELS: dict[str, Kernel] = {}

_LAST = np.iinfo(np.int64).max


def kernel(name: str) -> Callable[[Kernel], Kernel]:
    """Register the kernel of an instruction. Raises ValueError if there is one."""

    def register(function: Kernel) -> Kernel:
        if name in KERNELS:
            raise ValueError(f"instruction '{name}' has a kernel already")
        KERNELS[name] = function
        return function

    return register


def _elementwise(name: str, function: Callable[..., Any]) -> None:
    def run(instruction: Instruction, _: Mapping[str, Array], *values: Array) -> Array:
        with np.errstate(all="ignore"):
            result = np.asarray(function(*values))
        return result if instruction.dtype == "string" else result.astype(instruction.dtype, copy=False)

    kernel(name)(run)


def _same(values: Array) -> Array:
    return values


# Numpy's broadcasting; the compiler casts so that both sides have one dtype.
_ELEMENTWISE: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.mod,
    "pow": np.power,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "where": np.where,
    "cast": _same,
}
for _name in _ELEMENTWISE:
    _elementwise(_name, _ELEMENTWISE[_name])


@kernel("input")
def _input(instruction: Instruction, tensors: Mapping[str, Array]) -> Array:
    return tensors[cast("str", instruction.attributes["name"])]


@kernel("constant")
def _constant(instruction: Instruction, _: Mapping[str, Array]) -> Array:
    """A scalar. attributes: value, a number or a string; `NaN` as null."""
    value = instruction.attributes["value"]
    if instruction.dtype == "string":
        return np.array(value, dtype=np.object_)
    return np.array(np.nan if value is None else value, dtype=instruction.dtype)


@kernel("is_null")
def _is_null(_: Instruction, __: Mapping[str, Array], values: Array) -> Array:
    if values.dtype == np.object_:
        return values == NULL_STRING
    return np.isnan(values) if values.dtype.kind == "f" else values == NULL_INT64


@kernel("order")
def _order(_: Instruction, __: Mapping[str, Array], lengths: Array, *keys: Array) -> Array:
    """Positions [B, T] of each session's interactions in rising order of the keys [B, T], the first key first.

    Stable; null sorts last, behind it the padding.
    """
    width = keys[0].shape[1]
    padding = np.arange(width) >= lengths
    order: Array = np.broadcast_to(np.arange(width), padding.shape)
    for key in reversed(keys):
        if key.dtype.kind == "f":
            key = np.where(padding | np.isnan(key), np.inf, key)
        else:
            key = np.where(padding | (key == NULL_INT64), _LAST, key)
        key = np.take_along_axis(key, order, axis=1)
        order = np.take_along_axis(order, np.argsort(key, axis=1, kind="stable"), axis=1)
    return order


@kernel("window")
def _window(instruction: Instruction, _: Mapping[str, Array], lengths: Array) -> Array:
    """Which of the sorted interactions are kept: ranks int64 [B, W], those beyond the session's as `first + j`.

    attributes: start, stop as a Python slice of the session, and width W, the most it can hold.
    """
    first, _count = _slice(instruction, lengths)
    ranks: Array = first + np.arange(cast("int", instruction.attributes["width"]))
    return ranks


@kernel("valid")
def _valid(instruction: Instruction, _: Mapping[str, Array], lengths: Array) -> Array:
    """bool [B, W]: whether the kept interaction exists. attributes as of `window`."""
    _first, count = _slice(instruction, lengths)
    valid: Array = np.arange(cast("int", instruction.attributes["width"])) < count
    return valid


def _slice(instruction: Instruction, lengths: Array) -> tuple[Array, Array]:
    start = cast("int", instruction.attributes["start"])
    stop = cast("int | None", instruction.attributes["stop"])
    first: Array = np.maximum(lengths + start, 0) if start < 0 else np.minimum(start, lengths)
    last: Array = (
        lengths if stop is None else (np.maximum(lengths + stop, 0) if stop < 0 else np.minimum(stop, lengths))
    )
    return first, np.maximum(last - first, 0)


@kernel("take")
def _take(_: Instruction, __: Mapping[str, Array], values: Array, positions: Array, *ranks: Array) -> Array:
    """values [B, T] at positions[ranks], both [B, ·]; ranks beyond T give the last value."""
    if ranks:
        reachable = np.minimum(ranks[0], positions.shape[1] - 1)
        positions = np.take_along_axis(positions, reachable, axis=1)
    return np.take_along_axis(values, np.minimum(positions, values.shape[1] - 1), axis=1)


@kernel("pad")
def _pad(instruction: Instruction, _: Mapping[str, Array], values: Array, valid: Array) -> Array:
    """values [B, W] where valid, else 0."""
    return np.where(valid, values, 0).astype(instruction.dtype, copy=False)


@kernel("within")
def _within(_: Instruction, __: Mapping[str, Array], values: Array, lengths: Array) -> Array:
    """bool [B, T]: whether the interaction as sent belongs to the session and not to the padding."""
    return np.arange(values.shape[1]) < lengths


@kernel("reduce")
def _reduce(instruction: Instruction, _: Mapping[str, Array], values: Array, counted: Array) -> Array:
    """One number a session [B, 1] from values [B, T] where counted. attributes: kind, sum, min, max or count."""
    kind = instruction.attributes["kind"]
    if kind == "count":
        return counted.sum(axis=1, keepdims=True).astype(instruction.dtype)
    if kind == "sum":
        return np.where(counted, values, 0).sum(axis=1, keepdims=True).astype(instruction.dtype)
    edge = _edge(values.dtype, lowest=kind == "max")
    filled = np.where(counted, values, edge)
    return (filled.max if kind == "max" else filled.min)(axis=1, keepdims=True).astype(instruction.dtype)


def _edge(dtype: Any, *, lowest: bool) -> Any:
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    if dtype.kind == "b":
        return not lowest
    return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max


@kernel("encode")
@kernel("lookup")
def _lookup(instruction: Instruction, _: Mapping[str, Array], values: Array) -> Array:
    """The value that stands beside each key; `encode` is the same for values that are never null.

    arrays: keys, sorted, and values; strings of either as UTF-8 bytes. attributes: default, for what is no key; None is NaN.
    """
    keys, results = instruction.arrays["keys"], instruction.arrays["values"]
    default: Any = instruction.attributes["default"]
    if instruction.dtype == "string":
        default = default.encode()
        results = results.astype(f"S{max(results.dtype.itemsize, len(default), 1)}", copy=False)
    default = np.array(np.nan if default is None else default, dtype=results.dtype)
    if not len(keys):
        found = np.full(values.shape, default)
    else:
        wanted = _as_bytes(values) if values.dtype == np.object_ else values
        # In the keys' dtype, or the search would copy all keys into a wider one; a string that is cut by it equals no key.
        place = np.minimum(np.searchsorted(keys, wanted.astype(keys.dtype, copy=False)), len(keys) - 1)
        found = np.where(keys[place] == wanted, results[place], default)
    return _as_strings(found) if instruction.dtype == "string" else found


def _as_strings(values: Array) -> Array:
    decoded = np.empty(values.size, dtype=np.object_)
    decoded[:] = [value.decode() for value in values.ravel().tolist()]
    return decoded.reshape(values.shape)


def _as_bytes(values: Array) -> Array:
    encoded = [value.encode() for value in values.ravel().tolist()]
    return np.array(encoded, dtype=np.bytes_).reshape(values.shape)


@kernel("bucketize")
def _bucketize(instruction: Instruction, _: Mapping[str, Array], values: Array) -> Array:
    """The number of boundaries that each value reaches; NaN reaches all. arrays: boundaries, rising."""
    boundaries = instruction.arrays["boundaries"]
    return np.digitize(values, boundaries, right=False).astype(instruction.dtype)
