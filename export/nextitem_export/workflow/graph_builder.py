"""Nodes, constants and inputs under way to an ONNX graph, and the registry of what emits them.

An emitter adds nodes and names the tensor with its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nextitem_bundle.runtime.features.program import Instruction

# The versions of ONNX that graphs are written in: those that any Triton since 23.02 reads.
OPSET = 17
#: The lowest that torch's newer exporter writes.
DYNAMO_OPSET = 18
#: Of the graphs built here. ONNX Runtime 1.17, the oldest that a client may have, reads 9; torch's newer exporter writes 10.
IR_VERSION = 8

ML_DOMAIN = "ai.onnx.ml"
_ML_OPSET = 3

TYPES = {
    "string": TensorProto.STRING,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "bool": TensorProto.BOOL,
}

Emitter = Callable[["GraphBuilder", Instruction, list[str]], str]
EMITTERS: dict[str, Emitter] = {}


def emitter(*ops: str) -> Callable[[Emitter], Emitter]:
    """Register the emitter of instructions. Raises ValueError if one has an emitter."""

    def register(function: Emitter) -> Emitter:
        for op in ops:
            if op in EMITTERS:
                raise ValueError(f"instruction '{op}' has an emitter already")
            EMITTERS[op] = function
        return function

    return register


class GraphBuilder:
    """A graph that computes instructions; equal nodes and constants are added once."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self.instructions = instructions
        self.nodes: list[Any] = []
        self.inputs: dict[str, Any] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[Any] = []
        self._shared: dict[Any, str] = {}

    def dtype(self, number: int) -> str:
        """The dtype of an instruction's result."""
        return self.instructions[number].dtype

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output, whose name is returned; the same node is added once."""
        arrays = any(isinstance(value, (list, np.ndarray)) for value in attributes.values())
        key = None if arrays else (op, inputs, domain, tuple(sorted(attributes.items())))
        if key is not None and key in self._shared:
            return self._shared[key]
        name = f"{op}_{len(self.nodes)}"
        self.add_named(op, inputs, [name], domain=domain, **attributes)
        if key is not None:
            self._shared[key] = name
        return name

    def add_named(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """A node whose outputs have these names."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name, **attributes))

    def constant(self, array: Any) -> str:
        """An initializer; equal ones are stored once."""
        array = np.asarray(array)
        key = (
            array.dtype.str,
            array.shape,
            array.tobytes() if array.dtype != object else repr(array.tolist()).encode(),
        )
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def scalar(self, value: Any, dtype: str) -> str:
        """A constant of one value, without axes."""
        return self.constant(np.array(value, dtype=dtype))

    def input(self, name: str, dtype: str, last: int | str = "T") -> str:
        """A graph input [B, last]."""
        self.inputs[name] = helper.make_tensor_value_info(name, TYPES[dtype], ["B", last])
        return name

    def longest(self) -> str:
        """T, int64 [1]: all raw columns have the shape of the first one."""
        first = next(name for name in self.inputs if name != "session_length")
        return self.add("Shape", first, start=1, end=2)

    def model(self, outputs: list[Any]) -> onnx.ModelProto:
        """The checked model."""
        graph = helper.make_graph(self.nodes, "features", list(self.inputs.values()), outputs, self._initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, _ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model
