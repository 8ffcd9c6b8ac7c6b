"""From a program to ONNX: one emitter for each instruction that ONNX has an equal for.

Opset 17 and IR 8 load in every Triton since 23.02. An emitter adds nodes and names the tensor with its result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..graphs.formats import IR_VERSION, OPSET
from ..runtime.codes import NULL_INT64, NULL_STRING
from ..runtime.program import Instruction, Program

_ML_OPSET = 3
#: A dense table instead of a hash table where the ids span at most this many times their number.
DENSE = 8

_TYPES = {
    "string": TensorProto.STRING,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "bool": TensorProto.BOOL,
}

Emitter = Callable[["GraphBuilder", Instruction, list[str]], str]
EMITTERS: dict[str, Emitter] = {}


class GraphBuilder:
    """Nodes, constants and inputs under way to a graph."""

    def __init__(self, dtypes: list[str]) -> None:
        self.nodes: list[Any] = []
        self.inputs: dict[str, Any] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[Any] = []
        self._shared: dict[Any, str] = {}
        self.dtypes = dtypes

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output, whose name is returned; the same node is added once."""
        arrays = any(isinstance(value, (list, np.ndarray)) for value in attributes.values())
        key = None if arrays else (op, inputs, domain, tuple(sorted(attributes.items())))
        if key is not None and key in self._shared:
            return self._shared[key]
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, domain=domain, **attributes))
        if key is not None:
            self._shared[key] = name
        return name

    def constant(self, array: Any) -> str:
        """An initializer; equal ones are stored once."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes() if array.dtype != object else str(array.tolist()).encode())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def input(self, name: str, dtype: str, last: int | str = "T") -> str:
        """A graph input [B, last]."""
        self.inputs[name] = helper.make_tensor_value_info(name, _TYPES[dtype], ["B", last])
        return name

    def model(self, outputs: list[Any]) -> onnx.ModelProto:
        """The checked model."""
        graph = helper.make_graph(self.nodes, "features", list(self.inputs.values()), outputs, self._initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model


def emit_onnx(program: Program, window: int) -> onnx.ModelProto:
    """The program as an ONNX model: raw features [B, T], `session_length` int64 [B, 1] → outputs [B, window]."""
    builder = GraphBuilder([instruction.dtype for instruction in program.instructions])
    names: list[str] = []
    for instruction in program.instructions:
        names.append(EMITTERS[instruction.op](builder, instruction, [names[i] for i in instruction.inputs]))
    outputs = []
    for tensor, number in program.outputs.items():
        builder.nodes.append(helper.make_node("Identity", [names[number]], [tensor], f"output_{tensor}"))
        kind = _TYPES[program.instructions[number].dtype]
        outputs.append(helper.make_tensor_value_info(tensor, kind, ["B", window]))
    return builder.model(outputs)


def emitter(*ops: str) -> Callable[[Emitter], Emitter]:
    """Register the emitter of instructions. Raises ValueError if one has an emitter."""

    def register(function: Emitter) -> Emitter:
        for op in ops:
            if op in EMITTERS:
                raise ValueError(f"instruction '{op}' has an emitter already")
            EMITTERS[op] = function
        return function

    return register


_PLAIN = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "pow": "Pow",
    "neg": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "sin": "Sin",
    "cos": "Cos",
    "tanh": "Tanh",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
    "minimum": "Min",
    "maximum": "Max",
    "eq": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "and": "And",
    "or": "Or",
    "not": "Not",
    "where": "Where",
}


@emitter(*_PLAIN)
def _plain(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    return builder.add(_PLAIN[instruction.op], *inputs)


@emitter("ne")
def _ne(builder: GraphBuilder, _: Instruction, inputs: list[str]) -> str:
    return builder.add("Not", builder.add("Equal", *inputs))


@emitter("mod")
def _mod(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """The sign of the divisor, as in Python: ONNX's Mod has it for integers alone."""
    if not instruction.dtype.startswith("float"):
        return builder.add("Mod", *inputs)
    whole = builder.add("Floor", builder.add("Div", *inputs))
    return builder.add("Sub", inputs[0], builder.add("Mul", whole, inputs[1]))


@emitter("floordiv")
def _floordiv(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """Towards minus infinity: ONNX divides integers towards zero."""
    if instruction.dtype.startswith("float"):
        return builder.add("Floor", builder.add("Div", *inputs))
    return builder.add("Div", builder.add("Sub", inputs[0], builder.add("Mod", *inputs)), inputs[1])


@emitter("cast")
def _cast(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    return builder.add("Cast", inputs[0], to=_TYPES[instruction.dtype])


@emitter("input")
def _input(builder: GraphBuilder, instruction: Instruction, _: list[str]) -> str:
    name = instruction.settings["name"]
    return builder.input(name, instruction.dtype, 1 if name == "session_length" else "T")


@emitter("constant")
def _constant(builder: GraphBuilder, instruction: Instruction, _: list[str]) -> str:
    value, dtype = instruction.settings["value"], instruction.dtype
    if dtype == "string":
        return builder.constant(np.array(value, dtype=object))
    return builder.constant(np.array(np.nan if value is None else value, dtype=dtype))


@emitter("is_null")
def _is_null(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    dtype = builder.dtypes[instruction.inputs[0]]
    if dtype.startswith("float"):
        return builder.add("IsNaN", inputs[0])
    if dtype == "string":  # opset 17 cannot compare strings
        return builder.add(
            "Cast",
            builder.add("LabelEncoder", inputs[0], domain="ai.onnx.ml", keys_strings=[NULL_STRING], values_int64s=[1],
                        default_int64=0),
            to=TensorProto.BOOL,
        )  # fmt: skip
    return builder.add("Equal", inputs[0], builder.constant(np.array(NULL_INT64, dtype=dtype)))


@emitter("order")
def _order(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """TopK gives ties to the lower index, so each sort is stable; the first key is sorted by last."""
    lengths, *keys = inputs
    padding = builder.add("Not", _within(builder, instruction, [keys[0], lengths]))
    order: str | None = None
    for key, number in zip(reversed(keys), reversed(instruction.inputs[1:]), strict=True):
        dtype = builder.dtypes[number]
        if dtype.startswith("float"):
            null, last = builder.add("IsNaN", key), builder.constant(np.array(np.inf, dtype=dtype))
        else:
            null = builder.add("Equal", key, builder.constant(np.array(NULL_INT64, dtype=dtype)))
            last = builder.constant(np.array(np.iinfo(np.int64).max, dtype=dtype))
        key = builder.add("Where", builder.add("Or", padding, null), last, key)
        if order is not None:
            key = builder.add("GatherElements", key, order, axis=1)
        step = _sorted_indices(builder, key)
        order = step if order is None else builder.add("GatherElements", order, step, axis=1)
    assert order is not None
    return order


def _sorted_indices(builder: GraphBuilder, key: str) -> str:
    width = builder.add("Slice", builder.add("Shape", key), builder.constant([1]), builder.constant([2]))
    name = f"TopK_{len(builder.nodes)}"
    node = helper.make_node("TopK", [key, width], [f"{name}_values", name], name, largest=0, sorted=1, axis=1)
    builder.nodes.append(node)
    return name


def _positions(builder: GraphBuilder, values: str) -> str:
    """0 to T - 1, int64 [T]."""
    width = builder.add("Gather", builder.add("Shape", values), builder.constant(np.array(1)))
    return builder.add("Range", builder.constant(np.array(0)), width, builder.constant(np.array(1)))


@emitter("within")
def _within(builder: GraphBuilder, _: Instruction, inputs: list[str]) -> str:
    values, lengths = inputs
    return builder.add("Less", _positions(builder, values), lengths)


@emitter("window")
def _window(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    first, _count = _slice(builder, instruction, inputs[0])
    return builder.add("Add", first, builder.constant(np.arange(instruction.settings["width"])))


@emitter("valid")
def _valid(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    _first, count = _slice(builder, instruction, inputs[0])
    return builder.add("Less", builder.constant(np.arange(instruction.settings["width"])), count)


def _slice(builder: GraphBuilder, instruction: Instruction, lengths: str) -> tuple[str, str]:
    first = _bound(builder, instruction.settings["start"], lengths)
    stop = instruction.settings["stop"]
    last = lengths if stop is None else _bound(builder, stop, lengths)
    return first, builder.add("Sub", last, first)


def _bound(builder: GraphBuilder, at: int, lengths: str) -> str:
    if at < 0:
        return builder.add(
            "Max", builder.add("Add", lengths, builder.constant(np.array(at))), builder.constant(np.array(0))
        )
    return builder.add("Min", builder.constant(np.array(at)), lengths)


@emitter("take")
def _take(builder: GraphBuilder, _: Instruction, inputs: list[str]) -> str:
    """On flat tensors: a Gather is several times faster than a GatherElements, and takes strings."""
    values, positions, *ranks = inputs
    if ranks:
        positions = _flat_gather(builder, positions, ranks[0])
    return _flat_gather(builder, values, positions)


def _flat_gather(builder: GraphBuilder, values: str, positions: str) -> str:
    return builder.add("Gather", _flat(builder, values), _flat_index(builder, values, positions))


def _flat(builder: GraphBuilder, values: str) -> str:
    return builder.add("Reshape", values, builder.constant([-1]))


def _flat_index(builder: GraphBuilder, values: str, positions: str) -> str:
    # All raw columns have the shape of the first one, so that one index serves them all.
    like = (
        next(iter(name for name in builder.inputs if name != "session_length")) if values in builder.inputs else values
    )
    shape = builder.add("Shape", like)
    rows = builder.add("Gather", shape, builder.constant(np.array(0)))
    width = builder.add("Gather", shape, builder.constant(np.array(1)))
    numbers = builder.add("Range", builder.constant(np.array(0)), rows, builder.constant(np.array(1)))
    starts = builder.add("Unsqueeze", builder.add("Mul", numbers, width), builder.constant([1]))
    reachable = builder.add("Min", positions, builder.add("Sub", width, builder.constant(np.array(1))))
    return builder.add("Add", starts, reachable)


@emitter("pad")
def _pad(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    return builder.add("Where", inputs[1], inputs[0], builder.constant(np.array(0, dtype=instruction.dtype)))


@emitter("reduce")
def _reduce(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    values, counted = inputs
    kind = instruction.settings["kind"]
    dtype = builder.dtypes[instruction.inputs[0]]
    if kind == "count":
        ones = builder.add("Cast", counted, to=TensorProto.INT64)
        return builder.add("ReduceSum", ones, builder.constant([1]), keepdims=1)
    if kind == "sum":
        kept = builder.add("Where", counted, values, builder.constant(np.array(0, dtype=dtype)))
        return builder.add("ReduceSum", kept, builder.constant([1]), keepdims=1)
    limits = (-np.inf, np.inf) if dtype.startswith("float") else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    edge = builder.constant(np.array(limits[kind == "min"], dtype=dtype))
    kept = builder.add("Where", counted, values, edge)
    return builder.add("ReduceMax" if kind == "max" else "ReduceMin", kept, axes=(1,), keepdims=1)


@emitter("lookup", "encode")
def _lookup(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    """A dense table for compact integer keys, else a hash table."""
    keys, values = instruction.arrays["keys"], instruction.arrays["values"]
    default = instruction.settings["default"]
    if keys.dtype.kind == "S":
        return _encoder(builder, inputs[0], {"keys_strings": [key.decode() for key in keys.tolist()]}, values, default)
    if len(keys) and int(keys[-1]) - int(keys[0]) < DENSE * len(keys):
        return _dense(builder, inputs[0], keys, values, default)
    return _encoder(builder, inputs[0], {"keys_int64s": keys.tolist()}, values, default)


def _encoder(builder: GraphBuilder, name: str, keys: dict[str, Any], values: np.ndarray, default: Any) -> str:
    if values.dtype == np.int64:
        targets = {"values_int64s": values.tolist(), "default_int64": default}
        return builder.add("LabelEncoder", name, domain="ai.onnx.ml", **keys, **targets)
    place = _encoder(builder, name, keys, np.arange(1, len(values) + 1), 0)
    return builder.add("Gather", builder.constant(np.concatenate([[default], values]).astype(values.dtype)), place)


def _dense(builder: GraphBuilder, name: str, keys: np.ndarray, values: np.ndarray, default: Any) -> str:
    low, high = int(keys[0]), int(keys[-1])
    table = np.full(high - low + 3, default, dtype=values.dtype)  # one slot more at either end, for what is beyond
    table[keys - low + 1] = values
    # Bounded before the subtraction, which could overflow.
    bounded = builder.add("Max", name, builder.constant(np.array(max(low - 1, NULL_INT64), dtype=np.int64)))
    bounded = builder.add("Min", bounded, builder.constant(np.array(high + 1, dtype=np.int64)))
    return builder.add(
        "Gather", builder.constant(table), builder.add("Sub", bounded, builder.constant(np.array(low - 1)))
    )


@emitter("bucketize")
def _bucketize(builder: GraphBuilder, instruction: Instruction, inputs: list[str]) -> str:
    boundaries = instruction.arrays["boundaries"]
    column = builder.add("Unsqueeze", inputs[0], builder.constant([-1]))
    reached = builder.add("Not", builder.add("Less", column, builder.constant(boundaries)))  # NaN is less than none
    counts = builder.add("Cast", reached, to=TensorProto.INT64)
    return builder.add("ReduceSum", counts, builder.constant([-1]), keepdims=0)
