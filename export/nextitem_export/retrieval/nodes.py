"""What an ONNX graph is written from: nodes, also those of the branches of its `If`s, constants, and stored arrays.

Small arrays stand in the graph, large ones as npy files beside it. ONNX Runtime maps external data into memory, read-only, so
that processes which serve the same bundle share it. What is mapped is npy: the graph names the bytes behind the file's header.
A protobuf ends at 2 GB, a table of 8 million items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Larger arrays become a file of their own.
INLINE_BYTES = 16 * 2**20


class Constants:
    """The small constants of a graph and its branches, each stored once, and the names given so far."""

    def __init__(self, prefix: str) -> None:
        self.initializers: list[onnx.TensorProto] = []
        self._prefix = prefix
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names = 0

    def name(self, what: str) -> str:
        """A name that nothing else has."""
        self._names += 1
        return f"{self._prefix}/{what}_{self._names}"

    def constant(self, array: np.ndarray) -> str:
        """The name of an initializer with these values."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = self.name("constant")
            self.initializers.append(numpy_helper.from_array(array, name))
            self._known[key] = name
        return self._known[key]


class Nodes:
    """The nodes of a graph or of one branch, which reads what stands outside of it by name."""

    def __init__(self, constants: Constants, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.opset = opset
        self._constants = constants

    def name(self, what: str) -> str:
        """A name that nothing else has."""
        return self._constants.name(what)

    def inner(self) -> Nodes:
        """The nodes of a graph inside this one."""
        return Nodes(self._constants, self.opset)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, whose name is returned."""
        return self.several(op, *inputs, outputs=1, **attributes)[0]

    def several(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """A node with so many outputs, whose names are returned."""
        names = [self._constants.name(op) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, names[0], **attributes))
        return names

    def int64(self, *values: int) -> str:
        """A constant, int64 [n]."""
        return self.constant(np.array(values, dtype=np.int64))

    def constant(self, array: Any) -> str:
        """A constant; equal ones are stored once."""
        return self._constants.constant(np.asarray(array))

    def reduce_max(self, values: str, axis: int, *, keepdims: bool) -> str:
        """The largest along an axis."""
        return self._reduce("ReduceMax", values, axis, keepdims)

    def length(self, vectors: str) -> str:
        """The Euclidean length along axis 1, [B, 1]."""
        return self._reduce("ReduceL2", vectors, 1, True)

    def last(self, values: str) -> str:
        """The last column [B, 1] of values [B, P]."""
        return self.add("Slice", values, self.int64(-1), self.int64(np.iinfo(np.int64).max), self.int64(1))

    def _reduce(self, op: str, values: str, axis: int, keepdims: bool) -> str:
        if self.opset < 18:  # which made the axis an input
            return self.add(op, values, axes=[axis], keepdims=int(keepdims))
        return self.add(op, values, self.int64(axis), keepdims=int(keepdims))

    def top_k(self, values: str, k: str, *, lowest: bool = False) -> tuple[str, str]:
        """The k best along the last axis and where they stand; ONNX gives ties to the lower index."""
        best, index = self.several("TopK", values, k, outputs=2, axis=-1, largest=int(not lowest), sorted=1)
        return best, index

    def when(
        self,
        condition: str,
        then: Callable[[Nodes], Sequence[str]],
        otherwise: Callable[[Nodes], Sequence[str]],
        types: Sequence[int] = (TensorProto.FLOAT, TensorProto.INT64),
    ) -> list[str]:
        """What `then` computes where the condition, bool [1], holds and what `otherwise` does where not; only one is run.

        types: of the results.
        """
        return self.several(
            "If",
            condition,
            outputs=len(types),
            then_branch=self._branch(then, types),
            else_branch=self._branch(otherwise, types),
        )

    def _branch(self, write: Callable[[Nodes], Sequence[str]], types: Sequence[int]) -> onnx.GraphProto:
        inner = self.inner()
        # A branch gives what it computed itself: what stands outside has to be named anew.
        results = [inner.add("Identity", name) for name in write(inner)]
        outputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(results, types, strict=True)]
        return helper.make_graph(inner.nodes, self._constants.name("branch"), [], outputs)


class StoredArrays:
    """The initializers of a graph that is written into `folder`; each array is stored once, however many read it."""

    def __init__(self, folder: Path) -> None:
        self.initializers: list[onnx.TensorProto] = []
        self._folder = folder
        self._files: dict[str, tuple[np.ndarray, str, int]] = {}

    def add(self, name: str, array: np.ndarray, *, apart: bool = False, unused: bool = False) -> None:
        """Store an array under a name of the graph.

        apart: in a file of its own, whatever its size. unused: only views of it are read.
        """
        if array.nbytes <= INLINE_BYTES and not apart:
            self.initializers.append(numpy_helper.from_array(array, name))
            return
        file = f"table_{len(self._files)}.npy"
        array = np.ascontiguousarray(array)
        np.save(self._folder / file, array, allow_pickle=False)
        self._files[name] = (array, file, (self._folder / file).stat().st_size - array.nbytes)
        if not unused:
            self.initializers.append(self._external(name, name, 0, array.shape))

    def file(self, name: str) -> str | None:
        """The npy file that holds an array, None where the graph does."""
        return self._files[name][1] if name in self._files else None

    def add_view(self, name: str, of: str, first: int, shape: tuple[int, ...]) -> None:
        """Name a part of an array that is stored apart: so many elements from its `first` on, in this shape."""
        self.initializers.append(self._external(name, of, first, shape))

    def _external(self, name: str, of: str, first: int, shape: tuple[int, ...]) -> onnx.TensorProto:
        array, file, header = self._files[of]
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=shape,
            data_location=TensorProto.EXTERNAL,
        )
        item = array.dtype.itemsize
        where = {"location": file, "offset": header + first * item, "length": int(np.prod(shape)) * item}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def graphs_in(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs that a node holds: the branches of an If, the body of a Loop or a Scan."""
    held = ([attribute.g] if attribute.HasField("g") else attribute.graphs for attribute in node.attribute)
    return [graph for graphs in held for graph in graphs]


def rename_values(graph: onnx.GraphProto, name: Callable[[str], str]) -> None:
    """Rename all values of a graph and of the graphs within it (the branches of an If), which see those around them."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = name(value.name)
    for node in graph.node:
        node.name = name(node.name)
        node.input[:] = [name(each) for each in node.input]
        node.output[:] = [name(each) for each in node.output]
        for inner in graphs_in(node):
            rename_values(inner, name)
