import numpy as np
import pandas as pd
import pytest

from nextitem_training.config import DataConfig, HeadConfig
from nextitem_training.data.targets import check_targets
from nextitem_training.errors import DataError
from nextitem_training.interactions import read_interactions

BINARY = HeadConfig("b", "binary", "bought")
NAN = float("nan")


@pytest.mark.parametrize("values", [[0, 1], [0, NAN, 1], [NAN, NAN], [1]])
def test_zero_one_and_null_make_a_binary_column(values):
    check_targets(pd.DataFrame({"bought": np.array(values, np.float32)}), [BINARY])


def test_another_value_is_refused_for_a_binary_head_alone():
    frame = pd.DataFrame({"bought": np.array([0, 2.5, 1, NAN, -1], np.float32)})
    check_targets(frame, [HeadConfig("r", "regression", "bought")])
    with pytest.raises(
        DataError, match=r"'bought' holds 2.5 in one of 2 rows .* head 'b' takes 0, 1, false, true or n"
    ):
        check_targets(frame, [BINARY])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.array([True, None, False], dtype="boolean"), [1, NAN, 0]),
        (pd.array([5, None, 7], dtype="Int64"), [5, NAN, 7]),
        (np.array([0.5, NAN, 1.5]), [0.5, NAN, 1.5]),
        (np.array([1, 2, 3], dtype=np.int8), [1, 2, 3]),
    ],
    ids=["boolean", "integer", "float", "narrow"],
)
def test_targets_are_read_as_float32_with_nan_for_null(tmp_path, values, expected):
    rows = {"session_id": "a", "item_id": ["x", "y", "z"], "timestamp": pd.Timestamp("2024-01-01"), "bought": values}
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    frame, dtypes = read_interactions(tmp_path / "rows.parquet", DataConfig(targets=("bought",)))
    assert dtypes["bought"] == "float32"
    assert frame["bought"].dtype == np.float32
    np.testing.assert_array_equal(frame["bought"], np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["no", "yes"], r"'bought' is string, but \[data\] targets takes int64 or float32"),
        ([NAN, NAN], "'bought' holds no value at all"),
        ([1.0, float("inf")], "'bought' holds infinite values"),
    ],
)
def test_a_target_that_is_no_number_is_refused(tmp_path, values, sentence):
    rows = {"session_id": "a", "item_id": ["x", "y"], "timestamp": pd.Timestamp("2024-01-01"), "bought": values}
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=sentence):
        read_interactions(tmp_path / "rows.parquet", DataConfig(targets=("bought",)))
