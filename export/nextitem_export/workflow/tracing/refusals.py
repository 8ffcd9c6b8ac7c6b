"""What a traced function must not do to a column, and the sentence for each."""

from __future__ import annotations


class TracingError(Exception):
    """What the function does to a column cannot be compiled; the message says what and, where known, the remedy."""


_ACROSS_ROWS = (
    "depends on the other rows, which at serving are one request's: compute it in training and write the number into the "
    "function"
)
_ROW_BY_ROW = "goes through the rows one by one: write it as arithmetic on the whole column, or as map() of a dict"
_NUMBER_OF_ROWS = "is about the number of rows, which at serving are one request's: write it without"
_TEXT = "is work on text, which ONNX has not: compute the column before the workflow and send it"
_SEND = "is not compiled: compute the column before the workflow and send it"

_PICKS = "picks rows, and a request must keep all of its own: use np.where(condition, a, b)"

_REASONS = {
    name: reason
    for names, reason in (
        (
            "min max sum mean median std var sem count nunique unique quantile mode prod product shift diff rank cumsum "
            "cumprod cummax cummin cumcount rolling expanding ewm pct_change sort_values sort_index argsort argmin argmax "
            "value_counts duplicated drop_duplicates ffill bfill pad backfill interpolate idxmax idxmin any all groupby "
            "sample head tail nlargest nsmallest factorize describe skew kurt mad corr cov agg aggregate is_unique sort",
            _ACROSS_ROWS,
        ),
        ("apply transform items iteritems tolist to_list combine to_dict", _ROW_BY_ROW),
        ("shape size empty index memory_usage nbytes", _NUMBER_OF_ROWS),
        ("str cat", _TEXT),
        ("iloc loc iat at take drop dropna filter truncate", _PICKS),
    )
    for name in names.split()
}


def attribute(name: str) -> TracingError:
    """Why `Series.name` cannot be compiled."""
    if name.startswith("_"):
        return TracingError(
            "it hands a column to a function of pandas that is not compiled: write it as arithmetic on the column, and call "
            "functions of pandas as pd.…"
        )
    return TracingError(f"Series.{name} {_REASONS.get(name, _SEND)}")


def function(name: str) -> TracingError:
    """Why a function of numpy cannot be compiled."""
    plain = name.removeprefix("np.").removeprefix("nan")
    reason = _REASONS.get(plain, _SEND)
    return TracingError(f"{name}() {reason}")


def frame_attribute(name: str) -> TracingError:
    """Why `DataFrame.name` cannot be compiled."""
    if name in ("index", "shape", "size", "empty"):
        return TracingError(f"DataFrame.{name} {_NUMBER_OF_ROWS}")
    return TracingError(
        f"DataFrame.{name} is not a column of the table, or is not compiled: work on single columns, and name those that the "
        "operator reads as its dependencies"
    )


BRANCH = "it branches on a column's values: use np.where(condition, a, b)"
LENGTH = f"len() {_NUMBER_OF_ROWS}"
ITERATION = f"it {_ROW_BY_ROW}"
PICKS = f"it {_PICKS}"
ONE_NUMBER = "it makes one number of a column, as functions of math do: use numpy's function of that name"
ARRAY = (
    "it turns a column into an array of its own: use the column itself, with numpy's functions and pandas' functions called as "
    "pd.…"
)
