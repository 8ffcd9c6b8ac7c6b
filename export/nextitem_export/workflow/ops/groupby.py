"""Groupby: the interactions of a session as lists, and numbers over all of them."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvtabular import ops

from ..expressions import LIST, SESSION, Column, Expr, Table, apply, cast, constant, null_of, where, with_null
from ..registry import Inputs, lowering, refused


@lowering(ops.Groupby)
def lower(operator: ops.Groupby, inputs: Inputs) -> Table:
    """Sorted stably, which training's sort is with a tie-breaker column; the position in the request breaks ties."""
    _check(operator, inputs)
    # Within a session the one is always the same, and the other has the order of the request.
    needless = (inputs.context.session_column, inputs.context.tie_breaker_column)
    sort = tuple(_key(operator, inputs, name) for name in operator.sort_cols if name not in needless)
    grouped: Table = {}
    for name, column in inputs.selected.items():
        if name == inputs.context.session_column:
            grouped[name] = dataclasses.replace(column, level=SESSION)
            continue
        for kind in _aggregations(operator, name):
            grouped[f"{name}{operator.name_sep}{kind}"] = _aggregate(operator, name, column, kind, sort)
    return grouped


def _check(operator: ops.Groupby, inputs: Inputs) -> None:
    assert operator.groupby_cols is not None  # NVTabular cannot fit one without
    if operator.groupby_cols != [inputs.context.session_column]:
        raise refused(operator, operator.groupby_cols, f"expected the session column '{inputs.context.session_column}'")
    if operator.sort_cols and operator.ascending is not True:
        raise refused(operator, operator.sort_cols, "ascending=False puts the newest first: sort ascending and slice with "
                      "a negative ListSlice")  # fmt: skip


def _key(operator: ops.Groupby, inputs: Inputs, name: str) -> Expr:
    expr = inputs.table[name].expr
    if expr.dtype == "string":
        raise refused(operator, [name], "it sorts by strings: sort by a date-time or a number")
    return with_null(expr)


def _aggregations(operator: ops.Groupby, name: str) -> list[str]:
    kinds: list[str] = []
    for aggregations in (operator.list_aggs, operator.conv_aggs):
        for kind in [*aggregations.get(name, []), *aggregations.get("__all__", [])]:
            label = "list" if kind is list else kind
            if label not in kinds:
                kinds.append(label)
    return kinds


def _aggregate(operator: Any, name: str, column: Column, kind: str, sort: tuple[Expr, ...]) -> Column:
    if kind == "list":
        return Column(column.expr, LIST, column.dtype, sort=sort)
    if kind in ("first", "last"):
        return Column(Expr(kind, (column.expr, *sort), column.expr.dtype), SESSION, column.dtype)
    if kind not in ("count", "sum", "mean", "min", "max"):
        raise refused(operator, [name], f"the aggregation '{kind}' is not compiled: use count, sum, mean, min, max, first, "
                      "last or list")  # fmt: skip
    if column.expr.dtype == "string" and kind != "count":
        raise refused(operator, [name], f"'{kind}' of strings is not compiled: aggregate a number")
    null = null_of(column.expr)
    nulls = () if null is None else (null,)
    count = apply("reduce", "int64", column.expr, *nulls, kind="count")
    if kind == "count":
        return Column(count, SESSION, "int32")
    if kind in ("min", "max"):
        extreme = apply("reduce", column.expr.dtype, column.expr, *nulls, kind=kind)
        if nulls:  # of nothing but null it is null
            none = apply("eq", "bool", count, constant(0, "int64"))
            extreme = where(none, constant(None, extreme.dtype), extreme)
        return Column(extreme, SESSION, column.dtype)
    total = apply("reduce", "float64", cast(column.expr, "float64"), *nulls, kind="sum")
    value = total if kind == "sum" else apply("div", "float64", total, cast(count, "float64"))
    return Column(cast(value, "float32"), SESSION, "float32")
