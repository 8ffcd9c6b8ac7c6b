from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nextitem_bundle.runtime.signature import Feature
from nextitem_export.parity.cases import make_cases
from nextitem_export.wire import for_nvtabular, plain_sample, wire_column


@pytest.mark.parametrize(
    ("column", "dtype", "values"),
    [
        (pd.array([1, 2], "Int64"), "int64", [1, 2]),
        (pd.array([1, 2], "UInt8"), "uint8", [1, 2]),
        (pd.array([1, None], "Int16"), "Int64", [1, None]),
        (pd.array([2**60 + 1, None], "Int64"), "Int64", [2**60 + 1, None]),
        (pd.array([True, False], "boolean"), "bool", [True, False]),
        (pd.array([True, None], "boolean"), "Int64", [1, None]),
        (pd.array([0.5, None], "Float32"), "float64", [0.5, None]),
        (pd.array(["a", None], "string"), "object", ["a", None]),
        (pd.Categorical(["a", None, "b"]), "object", ["a", None, "b"]),
        (pd.Categorical([7, 8, 7]), "int64", [7, 8, 7]),
        (pd.Categorical([2**60 + 1, None]), "Int64", [2**60 + 1, None]),
        (pd.Categorical([True, None]), "Int64", [1, None]),
        (np.array([1.0, np.nan]), "float64", [1.0, None]),
        (pd.to_datetime(["2024-01-01"]).tz_localize("UTC"), "datetime64[ns, UTC]", None),
        (pd.period_range("2024-01-01", periods=1), "period[D]", None),
    ],
)
def test_pandas_types_become_plain_ones(column, dtype, values):
    plain = plain_sample(pd.DataFrame({"x": column}))["x"]
    assert str(plain.dtype) == dtype
    if values is not None:
        assert [None if pd.isna(value) else value for value in plain] == values


def test_a_sample_of_plain_types_is_left_alone():
    sample = pd.DataFrame({"x": [1], "y": ["a"]})
    pd.testing.assert_frame_equal(plain_sample(sample), sample)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([1, 2], "int64"), ([1, None], "float64"), ([2**60 + 1, None], "object"), ([-(2**60), None], "object")],
)
def test_nvtabular_gets_what_numpy_has(values, dtype):
    column = for_nvtabular(pd.DataFrame({"x": pd.array(values, "Int64")}))["x"]
    assert column.dtype == dtype
    assert [None if pd.isna(value) else value for value in column] == values


@pytest.mark.parametrize("column", [pd.array([5, None], "Int64"), np.array([5, np.nan]), np.array([5, 6], np.int8)])
def test_unknown_integers_are_sent_whatever_the_column_is_among_nulls(column):
    feature = Feature("x", "integer")
    cases = make_cases(
        [pd.DataFrame({"x": column})], [feature], time_columns=[], window=2, max_sessions=2, max_interactions=9
    )
    nothing = next(case for case in cases if case.name == "nothing known").sessions[0]
    assert (wire_column(nothing["x"], feature) > 100).all()
