"""From expressions to a program: what is sliced away is never computed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nextitem_bundle.runtime.features.program import Attribute, Instruction, Program

from .._errors import UnsupportedWorkflow
from .expressions import LIST, SESSION, Column, Expr, Table, cast


@dataclasses.dataclass(frozen=True)
class FeatureOutput:
    """An output of the program: the workflow's column `column` as tensor `tensor` of `dtype`, [B, window]."""

    column: str
    tensor: str
    dtype: str


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Where an expression is evaluated: `sort` and `slice` None for the interactions as they came."""

    sort: tuple[Expr, ...] | None
    start: int | None = None
    stop: int | None = None
    width: int = 0


_AS_SENT = _Frame(None)


def schedule(table: Table, outputs: Sequence[FeatureOutput], window: int) -> Program:
    """A program that computes these outputs from raw features and `session_length`.

    window: the width of every output; a list that no ListSlice bounds keeps its newest.
    """
    scheduler = _Scheduler()
    numbered = {output.tensor: scheduler.output(table[output.column], output, window) for output in outputs}
    return Program(tuple(scheduler.instructions), numbered)


class _Scheduler:
    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._known: dict[Any, int] = {}
        self._values: dict[tuple[int, _Frame], int] = {}
        self._kept: list[Expr] = []  # expressions are known by id: none may be collected meanwhile
        self._lengths = self._emit("input", (), "int64", {"name": "session_length"})

    def output(self, column: Column, output: FeatureOutput, window: int) -> int:
        """The number of the instruction that computes a feature."""
        if column.level != LIST:
            raise UnsupportedWorkflow(
                f"the workflow's output '{output.column}' has one value per session, expected a list: leave it out of the "
                "model's features, or repeat it over the interactions before the Groupby"
            )
        frame = _frame(column, window)
        value = self.evaluate(cast(column.expr, output.dtype), frame)
        valid = self._emit("valid", (self._lengths,), "bool", _slice(frame))
        return self._emit("pad", (value, valid), output.dtype)

    def evaluate(self, expr: Expr, frame: _Frame) -> int:
        """The number of the instruction that computes the expression in a frame."""
        if expr.level == SESSION:
            frame = _AS_SENT  # one number a session, wherever it is asked for
        key = (id(expr), frame)
        if key not in self._values:
            self._kept.append(expr)
            self._values[key] = self._compute(expr, frame)
        return self._values[key]

    def _compute(self, expr: Expr, frame: _Frame) -> int:
        if expr.op == "raw":
            column = self._emit("input", (), expr.dtype, {"name": expr.attributes["name"]})
            return self._taken(column, expr.dtype, frame)
        if expr.op == "reduce":
            return self._reduced(expr)
        if expr.op in ("first", "last"):
            value, *sort = expr.args
            edge = {"start": 0, "stop": 1} if expr.op == "first" else {"start": -1, "stop": None}
            return self.evaluate(value, _Frame(tuple(sort), width=1, **edge))
        arguments = tuple(self.evaluate(arg, frame) for arg in expr.args)
        return self._emit(expr.op, arguments, expr.dtype, expr.attributes, expr.arrays)

    def _taken(self, column: int, dtype: str, frame: _Frame) -> int:
        if frame.sort is None:
            return column
        ranks = self._emit("window", (self._lengths,), "int64", _slice(frame))
        if not frame.sort:
            return self._emit("take", (column, ranks), dtype)
        keys = tuple(self.evaluate(key, _AS_SENT) for key in frame.sort)
        order = self._emit("order", (self._lengths, *keys), "int64")
        return self._emit("take", (column, order, ranks), dtype)

    def _reduced(self, expr: Expr) -> int:
        value, *null = (self.evaluate(arg, _AS_SENT) for arg in expr.args)
        shape_giver = value
        counted = self._emit("within", (shape_giver, self._lengths), "bool")
        if null:
            present = self._emit("not", (null[0],), "bool")
            counted = self._emit("and", (counted, present), "bool")
        return self._emit("reduce", (value, counted), expr.dtype, expr.attributes)

    def _emit(
        self,
        op: str,
        inputs: tuple[int, ...],
        dtype: str,
        attributes: Mapping[str, Attribute] | None = None,
        arrays: Mapping[str, Any] | None = None,
    ) -> int:
        attributes, arrays = dict(attributes or {}), dict(arrays or {})
        identity = tuple((name, id(array)) for name, array in sorted(arrays.items()))
        key = (op, inputs, dtype, json.dumps(attributes, sort_keys=True), identity)
        if key not in self._known:
            self._known[key] = len(self.instructions)
            self.instructions.append(Instruction(op, inputs, dtype, attributes, arrays))
        return self._known[key]


def _frame(column: Column, window: int) -> _Frame:
    start = -window if column.start is None else column.start
    return _Frame(column.sort, start, column.stop, window)


def _slice(frame: _Frame) -> dict[str, Any]:
    return {"start": frame.start, "stop": frame.stop, "width": frame.width}
