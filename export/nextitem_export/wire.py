"""Raw interactions in the forms that they have: in a sample, as NVTabular takes them, and as the tensors of a request.

pandas has several types for one thing: integers with nulls are Int64, floats or objects, strings are objects, `string` or
`category`. numpy knows none of the nullable ones, and NVTabular's operators fail on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.signature import Feature
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING, NUMPY_DTYPES

from ._errors import UnsupportedWorkflow

_EXACT_IN_FLOAT64 = 2**53
_FILL = {"BYTES": b"", "INT64": 0, "FP32": 0.0}

_KINDS = {"string": "string", "datetime": "datetime", "bool": "boolean"}
_NUMPY_KINDS = {"i": "integer", "u": "integer", "f": "float"}


def raw_feature(name: str, dtype: str) -> Feature:
    """The feature of a raw column by its training dtype (`string`, `datetime` or numpy's name).

    Raises UnsupportedWorkflow if no tensor of a request can carry that type.
    """
    if dtype in _KINDS:
        return Feature(name, _KINDS[dtype])
    try:
        return Feature(name, _NUMPY_KINDS[np.dtype(dtype).kind])
    except (TypeError, KeyError):
        raise UnsupportedWorkflow(
            f"the raw column '{name}' has the type '{dtype}', expected {', '.join(_KINDS)} or one of numpy's integers "
            "and floats: turn it into one of them before fitting, or name its type in raw_dtypes"
        ) from None


def wire_column(values: pd.Series, feature: Feature) -> np.ndarray:
    """A column [N] in the feature's type on the wire, nulls as the wire's."""
    null = values.isna().to_numpy()
    if feature.kind == "string":
        return np.array(
            [(NULL_STRING if n else v).encode() for v, n in zip(values, null, strict=True)] + [None],
            dtype=object,
        )[:-1]
    if feature.kind == "datetime":
        return pd.to_datetime(values).to_numpy("datetime64[ns]").view(np.int64)
    if feature.kind == "float":
        return values.to_numpy(np.float32, na_value=np.nan)
    return np.array([NULL_INT64 if n else int(v) for v, n in zip(values, null, strict=True)], dtype=np.int64)


def request_tensors(
    sessions: Sequence[pd.DataFrame], features: Sequence[Feature], *, width: int | None = None
) -> dict[str, np.ndarray]:
    """One request for these sessions: raw features [B, T] padded on the right, and `session_length` int32 [B, 1].

    width: T, the longest session's length (at least 1) where not given.
    """
    lengths = np.array([[len(session)] for session in sessions], dtype=np.int32)
    width = width or max(1, int(lengths.max(initial=0)))
    filled = np.arange(width) < lengths
    tensors = {"session_length": lengths}
    for feature in features:
        padded = np.full(filled.shape, _FILL[feature.datatype], dtype=NUMPY_DTYPES[feature.datatype])
        padded[filled] = _one_after_the_other(
            [cast("pd.Series", session[feature.name]) for session in sessions], feature
        )
        tensors[feature.name] = padded
    return tensors


def _one_after_the_other(columns: Sequence[pd.Series], feature: Feature) -> np.ndarray:
    if len({column.dtype for column in columns}) == 1:
        return wire_column(pd.concat(columns, ignore_index=True), feature)
    # Integers beside integers with nulls, which are floats: joined, all would become floats.
    return np.concatenate([wire_column(column, feature) for column in columns])


def plain_sample(sample: pd.DataFrame) -> pd.DataFrame:
    """The sample without pandas' own types but Int64, which is left where an integer is null; a copy where that changes it."""
    columns = _columns(sample).items()
    return sample.assign(**{name: plain for name, column in columns if (plain := _plain(column)) is not column})


def for_nvtabular(frame: pd.DataFrame) -> pd.DataFrame:
    """Interactions of a sample as NVTabular was fitted on them: Int64 as int64, or where one is null as numpy has it.

    That is float64, where it holds every value exactly, and objects otherwise.
    """
    columns = _columns(frame).items()
    return frame.assign(
        **{name: _as_numpy(column) for name, column in columns if isinstance(column.dtype, pd.Int64Dtype)}
    )


def _columns(frame: pd.DataFrame) -> dict[str, pd.Series]:
    return {name: cast("pd.Series", frame[name]) for name in frame}


def _plain(column: pd.Series) -> pd.Series:
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _plain(_without_categories(column))
    if isinstance(dtype, pd.StringDtype):
        return column.astype(object).where(column.notna(), None)
    if not pd.api.types.is_extension_array_dtype(dtype) or isinstance(dtype, pd.DatetimeTZDtype):
        return column
    if pd.api.types.is_float_dtype(dtype):
        return column.astype("float64")
    if pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        return column.astype("Int64" if column.isna().any() else dtype.numpy_dtype)
    return column


def _without_categories(column: pd.Series) -> pd.Series:
    categories = column.cat.categories
    if len(categories) and pd.api.types.infer_dtype(categories) in ("integer", "boolean"):
        # Not by astype: that goes by floats, or refuses, where there are nulls.
        values = pd.array(categories.astype(np.int64), dtype="Int64")
        return pd.Series(values.take(column.cat.codes.to_numpy(), allow_fill=True), index=column.index)
    return (
        column.astype(object).where(column.notna(), None)
        if categories.dtype == object
        else column.astype(categories.dtype)
    )


def _as_numpy(column: pd.Series) -> pd.Series:
    null = column.isna()
    if not null.any():
        return column.astype(np.int64)
    if (column.abs() > _EXACT_IN_FLOAT64).any():
        return column.astype(object).where(~null, None)
    return column.astype("float64")
