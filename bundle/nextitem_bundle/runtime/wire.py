"""The types of what is sent: kinds of raw features, KServe v2 datatypes, numpy's dtypes, and each one's null."""

from __future__ import annotations

from typing import Any

import numpy as np

DATATYPES = {
    "string": "BYTES",
    "integer": "INT64",
    "boolean": "INT64",
    "datetime": "INT64",
    "float": "FP32",
}
"""Kind of raw feature to the KServe v2 datatype that carries it."""

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "BYTES": np.dtype(np.object_),
    "INT64": np.dtype(np.int64),
    "INT32": np.dtype(np.int32),
    "FP32": np.dtype(np.float32),
    "BOOL": np.dtype(np.bool_),
}
"""KServe v2 datatype to numpy's dtype of an array of it."""

# Null, by the tensor's datatype. JSON has no NaN, so the lowest FP32 means null as well as NaN does.
NULL_INT64 = int(np.iinfo(np.int64).min)
"""Null of an INT64."""
NULL_STRING = ""
"""Null of a string."""
LOWEST_FLOAT32 = float(np.finfo(np.float32).min)
"""Null of an FP32, as NaN is: JSON has no NaN."""
NULLS: dict[str, Any] = {"BYTES": NULL_STRING.encode(), "INT64": NULL_INT64, "FP32": float("nan")}
"""Null as callers send it in a raw feature, by the KServe v2 datatype."""


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The KServe v2 datatype that carries arrays of a dtype.

    Args:
        dtype: numpy's dtype.

    Raises:
        KeyError: no datatype does.
    """
    return _DATATYPES_BY_DTYPE[dtype]


_DATATYPES_BY_DTYPE = {dtype: datatype for datatype, dtype in NUMPY_DTYPES.items()}
