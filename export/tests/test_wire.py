from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.request import read_request
from nextitem_bundle.runtime.signature import Feature, Signature
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export import UnsupportedWorkflow
from nextitem_export.wire import raw_feature, request_tensors, wire_column


@pytest.mark.parametrize(
    ("dtype", "kind", "datatype"),
    [
        ("string", "string", "BYTES"),
        ("datetime", "datetime", "INT64"),
        ("bool", "boolean", "INT64"),
        ("int8", "integer", "INT64"),
        ("uint64", "integer", "INT64"),
        ("float32", "float", "FP32"),
        ("float64", "float", "FP32"),
    ],
)
def test_a_training_type_has_one_type_on_the_wire(dtype, kind, datatype):
    feature = raw_feature("x", dtype)
    assert (feature.kind, feature.datatype) == (kind, datatype)


@pytest.mark.parametrize("dtype", ["Int64", "complex128", "timedelta64[ns]", "nonsense"])
def test_a_type_without_a_tensor_is_refused(dtype):
    with pytest.raises(UnsupportedWorkflow) as caught:
        raw_feature("x", dtype)
    assert f"'x' has the type '{dtype}'" in str(caught.value)
    assert "raw_dtypes" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["ø", None, np.nan], "string", ["ø".encode(), b"", b""]),
        ([True, None, False], "boolean", [1, NULL_INT64, 0]),
        ([2**53 + 1, None, -1], "integer", [2**53 + 1, NULL_INT64, -1]),
        (pd.to_datetime(["1970-01-01 00:00:01", None]), "datetime", [10**9, NULL_INT64]),
        (pd.to_datetime(["1970-01-01 01:00:01+01:00"]), "datetime", [10**9]),
    ],
)
def test_columns_turn_into_the_wire_s_values_and_nulls(values, kind, expected):
    dtype = object if isinstance(values, list) else None
    column = wire_column(pd.Series(values, dtype=dtype), Feature("x", kind))
    assert column.tolist() == expected


def test_a_null_float_is_nan_on_the_wire():
    column = wire_column(pd.Series([1.5, None]), Feature("x", "float"))
    assert column.dtype == np.float32
    np.testing.assert_array_equal(column, np.array([1.5, np.nan], np.float32))


def test_shorter_sessions_are_padded_on_the_right():
    sessions = [pd.DataFrame({"x": ["a", "b", "c"]}), pd.DataFrame({"x": ["d"]}), pd.DataFrame({"x": []}, dtype=object)]
    tensors = request_tensors(sessions, [Feature("x", "string")])
    assert tensors["x"].tolist() == [[b"a", b"b", b"c"], [b"d", b"", b""], [b"", b"", b""]]
    assert tensors["session_length"].tolist() == [[3], [1], [0]]
    assert tensors["session_length"].dtype == np.int32


def test_empty_sessions_alone_still_have_one_interaction_of_padding():
    assert request_tensors([pd.DataFrame({"x": [1]}).iloc[:0]], [Feature("x", "integer")])["x"].shape == (1, 1)


def test_the_width_can_be_given():
    assert request_tensors([pd.DataFrame({"x": [1]})], [Feature("x", "integer")], width=5)["x"].shape == (1, 5)


FEATURES = (Feature("item", "string"), Feature("count", "integer"), Feature("price", "float"))
SIGNATURE = Signature(1, 4, "item", FEATURES, 5, 5, 64, 100, 1000, 16_384, ("session_length",))
interactions = st.tuples(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False),
)


@given(st.lists(st.lists(interactions, max_size=5), min_size=1, max_size=5))
def test_what_is_written_as_a_request_is_read_back(sessions):
    frames = [pd.DataFrame(session, columns=[f.name for f in FEATURES]) for session in sessions]
    read = read_request(request_tensors(frames, FEATURES), SIGNATURE)
    assert read.lengths.tolist() == [len(session) for session in sessions]
    rows = [row for session in sessions for row in session]
    assert list(zip(*(read.columns[f.name].tolist() for f in FEATURES), strict=True)) == rows
