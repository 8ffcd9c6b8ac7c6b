"""Graphs that take a request as it comes: inputs with defaults, branches, and nodes whose names are sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from nextitem_bundle.runtime.program import Instruction

from ..workflow.graph_builder import TYPES, GraphBuilder


class NativeBuilder(GraphBuilder):
    """The graph of a workflow's instructions that reads checked columns in the place of raw ones.

    columns: what the instructions' inputs stand for, the raw columns' names and `session_length`, once they are checked.
    width: T, int64 [1].
    """

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        super().__init__(instructions)
        self.columns: dict[str, str] = {}
        self.width = ""
        self._branches = 0

    def input(self, name: str, dtype: str, last: int | str = "T") -> str:
        """The checked column of that name."""
        return self.columns[name]

    def longest(self) -> str:
        """T, int64 [1]."""
        return self.width

    def optional(self, name: str, dtype: str, dims: tuple[int | str, ...], shape: tuple[int, ...]) -> str:
        """A graph input of these dims that is a tensor of this (empty) shape where it is not sent."""
        self.inputs[name] = helper.make_tensor_value_info(name, TYPES[dtype], dims)
        empty = np.empty(shape, dtype=object if dtype == "string" else dtype)
        self._initializers.append(numpy_helper.from_array(empty, name))
        return name

    def sentence(self, sentence: str, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node that fails where a request is wrong; ONNX Runtime's error then names it, so its name is the sentence."""
        output = f"{self.prefix}checked_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], sentence, **attributes))
        return output

    def branch(self, instructions: Sequence[Instruction] = ()) -> Branch:
        """A graph for one side of a condition, which may read all that was computed before the condition."""
        self._branches += 1
        return Branch(self, f"{self.prefix}branch_{self._branches}/", instructions)

    def choose(
        self, condition: str, yes: Branch, no: Branch, outputs: Sequence[str], *, values: Sequence[Sequence[str]]
    ) -> None:
        """An If with these outputs. values: what `yes` and what `no` give for each of them."""
        graphs = {"then_branch": yes.graph(values[0]), "else_branch": no.graph(values[1])}
        self.nodes.append(
            helper.make_node("If", [condition], list(outputs), f"{self.prefix}If_{len(self.nodes)}", **graphs)
        )


class Branch(NativeBuilder):
    """One side of a condition. Its constants are the whole graph's."""

    def __init__(self, outer: NativeBuilder, prefix: str, instructions: Sequence[Instruction]) -> None:
        super().__init__(instructions)
        self.prefix = prefix
        self.columns, self.width = outer.columns, outer.width
        self._outer = outer
        self._types: dict[str, str] = {}

    def constant(self, array: Any) -> str:
        """An initializer of the whole graph."""
        return self._outer.constant(array)

    def result(self, value: str, dtype: str) -> str:
        """A value that the branch gives back, of this dtype."""
        output = f"{self.prefix}result_{len(self.nodes)}"
        self.add_named("Identity", [value], [output])
        self._types[output] = dtype
        return output

    def graph(self, outputs: Sequence[str]) -> Any:
        """The branch with these results."""
        infos = [helper.make_tensor_value_info(name, TYPES[self._types[name]], None) for name in outputs]
        return helper.make_graph(self.nodes, self.prefix.rstrip("/"), [], infos)
