"""Raw interactions in pandas' types: the one form in which the exporter keeps them, and the one that NVTabular takes.

pandas has several types for one thing: integers with nulls are Int64, floats or objects, strings are objects, `string` or
`category`. numpy knows none of the nullable ones, and NVTabular's operators fail on them.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

_EXACT_IN_FLOAT64 = 2**53


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
