"""Holds a traced function, in numpy and as ONNX, to what pandas itself makes of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

from nextitem_bundle.runtime.features.program import Program
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export.workflow.emit_onnx import emit_onnx
from nextitem_export.workflow.expressions import LIST, Column, Expr, cast, raw, with_null
from nextitem_export.workflow.schedule import FeatureOutput, schedule
from nextitem_export.workflow.tracing import SymbolicColumn, SymbolicFrame, trace
from nextitem_export.workflow.tracing.dtypes import entering

Dtypes = Mapping[str, str]


def table_of(dtypes: Dtypes) -> SymbolicFrame:
    """Symbolic raw columns; floats come as float32 and are cast, as in a request."""
    frame = {}
    for name, dtype in dtypes.items():
        on_wire = "float32" if dtype.startswith("float") else "string" if dtype == "string" else "int64"
        expr = raw(name, on_wire)
        frame[name] = SymbolicColumn(*entering(cast(expr, dtype) if "float" in dtype else expr, dtype), name)
    return SymbolicFrame(frame)


def takes_table(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters) == 2


def traced(function: Callable[..., Any], dtypes: Dtypes) -> Any:
    """What a function of the first column, or of it and the table, is traced to."""

    def call() -> Any:
        frame = table_of(dtypes)
        column = frame[next(iter(dtypes))]
        return function(column, frame) if takes_table(function) else function(column)

    return trace(call)


def program_of(column: SymbolicColumn, dtype: str, width: int) -> Program:
    """The column as the one output `out` [1, width]."""
    expr: Expr = column.expr if dtype == "float64" else with_null(column.expr)
    output = FeatureOutput("out", "out", dtype)
    return schedule({"out": Column(expr, LIST, dtype)}, [output], width)


def check(function: Callable[..., Any], frame: pd.DataFrame, dtypes: Dtypes, *, rtol: float = 1e-12) -> SymbolicColumn:
    """Compare on the rows of a frame whose columns pandas may hold in other dtypes because of null."""
    column = traced(function, dtypes)
    argument = frame[next(iter(dtypes))]
    result = function(argument, frame.copy()) if takes_table(function) else function(argument)
    expected = pd.Series(result).reset_index(drop=True)
    floats = expected.dtype.kind in "fO"
    right = expected.to_numpy(np.float64) if floats else expected.to_numpy().astype(np.int64)
    program = program_of(column, "float64" if floats else "int64", len(frame))
    tensors = request_of(frame, dtypes)
    tolerance = 1e-6 if expected.dtype == np.float32 or (floats and column.dtype == np.float32) else rtol
    for backend, answer in (("numpy", program.run(tensors)["out"]), ("ONNX", run_onnx(program, tensors))):
        if floats:
            np.testing.assert_allclose(answer[0], right, rtol=tolerance, atol=0, err_msg=backend)
        else:
            np.testing.assert_array_equal(answer[0], right, err_msg=backend)
    return column


def request_of(frame: pd.DataFrame, dtypes: Dtypes) -> dict[str, np.ndarray]:
    """One session of all rows."""
    tensors = {"session_length": np.array([[len(frame)]])}
    for name, dtype in dtypes.items():
        null = frame[name].isna().to_numpy()
        if dtype == "string":
            values = frame[name].where(~null, "").to_numpy(dtype=object)
        elif dtype.startswith("float"):
            values = frame[name].to_numpy(np.float32)
        elif dtype == "datetime":
            values = frame[name].to_numpy().astype("datetime64[ns]").astype(np.int64)
        else:
            values = np.array([NULL_INT64 if n else int(v) for n, v in zip(null, frame[name], strict=True)])
        tensors[name] = values[None]
    return tensors


def run_onnx(program: Program, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(emit_onnx(program, program_width(program)).SerializeToString())
    return session.run(None, {node.name: tensors[node.name] for node in session.get_inputs()})[0]


def program_width(program: Program) -> int:
    return next(i.attributes["width"] for i in program.instructions if i.op == "valid")
