import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.interactions import conform, read_interactions
from nextitem_training.special_ids import NULL_FLOAT32, NULL_INT64

TIMES = [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]


def write(path, **columns):
    table = {"session_id": [1, 1, 2], "item_id": ["a", "b", "a"], "timestamp": TIMES, **columns}
    pq.write_table(pa.table(table), path)
    return path


def test_types_are_pinned_from_the_table_and_nulls_kept(tmp_path):
    path = write(
        tmp_path / "x.parquet",
        colour=pa.array(["red", "", None]).dictionary_encode(),
        shop=pa.array([2**60 + 1, None, 3], pa.int64()),
        new=pa.array([True, False, None]),
        size=pa.array([1, 2, 3], pa.uint8()),
        price=pa.array([1.5, None, 2.0], pa.float64()),
        timestamp=pa.array(TIMES, pa.timestamp("us", "Europe/Berlin")),
    )
    data = DataConfig(categorical=("colour", "shop", "new", "size"), continuous=("price",))
    frame, dtypes = read_interactions(path, data)
    assert dtypes == {
        "item_id": "string",
        "timestamp": "datetime",
        "colour": "string",
        "shop": "int64",
        "new": "int64",
        "size": "int64",
        "price": "float32",
        "session_id": "int64",
    }
    assert frame["colour"].tolist() == ["red", None, None]
    assert frame["shop"][0] == 2**60 + 1  # a float would have lost the 1
    assert frame["shop"].isna().tolist() == [False, True, False]
    assert frame["new"].tolist()[:2] == [1, 0]
    assert frame["size"].dtype == np.int64
    assert frame["price"].dtype == np.float32
    assert frame["timestamp"].dtype == "datetime64[ns]"
    assert frame["timestamp"][0] == TIMES[0]  # stored as UTC
    assert frame["row_position"].tolist() == [0, 1, 2]


def test_a_csv_and_a_folder_are_read_in_the_order_of_their_names(tmp_path):
    header = "session_id,item_id,timestamp\n"
    (tmp_path / "b.csv").write_text(header + "2,y,2024-01-02 10:00:00\n")
    (tmp_path / "a.csv").write_text(header + "1,x,2024-01-01 10:00:00\n")
    frame, _ = read_interactions(tmp_path, DataConfig())
    assert frame["item_id"].tolist() == ["x", "y"]
    alone, dtypes = read_interactions(tmp_path / "b.csv", DataConfig())
    assert alone["session_id"].tolist() == [2]
    assert dtypes["timestamp"] == "datetime"


@pytest.mark.parametrize(
    ("columns", "data", "sentence"),
    [
        ({}, {"categorical": ("item",)}, "no column 'item'. Did you mean 'item_id'"),
        ({"row_position": [1, 2, 3]}, {}, "has a column 'row_position' already"),
        ({"x": pa.nulls(3)}, {"categorical": ("x",)}, "'x' holds no value at all"),
        ({"x": ["", "", ""]}, {"categorical": ("x",)}, "'x' holds no value at all"),
        ({"x": [[1], [2], [3]]}, {"categorical": ("x",)}, "'x' is of type list.*Convert it"),
        ({"x": [1.0, 2.0, 3.0]}, {"categorical": ("x",)}, "'x' is float32, but .* categorical"),
        ({"x": ["1", "2", "3"]}, {"continuous": ("x",)}, "'x' is string, but .* continuous"),
        ({"x": [1.0, np.inf, 3.0]}, {"log_continuous": ("x",)}, "'x' holds infinite values"),
        ({"item_id": [1.0, 2.0, 3.0]}, {}, "'item_id' is float32, but .* item_column"),
        ({"timestamp": [True, False, True]}, {}, "'timestamp' is int64, but .* time_column takes datetime"),
        ({"timestamp": [TIMES[0], None, TIMES[1]]}, {}, "'timestamp' is null in 1 rows"),
        ({"session_id": [1, None, None]}, {}, "'session_id' is null in 2 rows"),
        (
            {"x": pa.array([2**64 - 1, 1, 2], pa.uint64())},
            {"categorical": ("x",)},
            "beyond int64; convert it to strings",
        ),
        (
            {"x": pa.array([9_000_000_000_000] * 3, pa.timestamp("s"))},
            {"categorical": ("x",)},
            "'x' cannot be read",
        ),
    ],
)
def test_a_column_that_cannot_be_used_is_refused(tmp_path, columns, data, sentence):
    path = write(tmp_path / "x.parquet", **columns)
    with pytest.raises(DataError, match=sentence):
        read_interactions(path, DataConfig(**data))


def test_files_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        read_interactions(tmp_path / "none", DataConfig())
    with pytest.raises(DataError, match="holds no interactions"):
        read_interactions(tmp_path, DataConfig())
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(DataError, match=r"x.parquet cannot be read"):
        read_interactions(tmp_path / "x.parquet", DataConfig())
    (tmp_path / "x.parquet").unlink()
    (tmp_path / "a.csv").write_text("session_id,item_id,timestamp\n")
    with pytest.raises(DataError, match="holds no rows"):
        read_interactions(tmp_path / "a.csv", DataConfig())


def test_conform_reads_every_form_of_null_of_a_request():
    rows = pd.DataFrame(
        {
            "a": ["", "x"],
            "b": [NULL_INT64, 2],
            "c": np.array([NULL_FLOAT32, 1], np.float32),
            "d": np.array([NULL_INT64, 10**9], np.int64),
            "e": [float("nan"), 4.0],
            "f": [None, 5],
        },
        index=[5, 5],
    )
    dtypes = {"a": "string", "b": "int64", "c": "float32", "d": "datetime", "e": "int64"}
    conformed = conform(rows, dtypes)
    assert conformed.index.tolist() == [0, 1]
    assert conformed.isna().to_numpy()[0].all()
    assert not conformed.isna().to_numpy()[1].any()
    assert conformed["d"][1] == pd.Timestamp("1970-01-01 00:00:01")
    assert conform(rows.astype({"f": object}), {"f": "int64"})["f"][1] == 5


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([5.5], "int64"), (["a"], "int64"), ([3], "string"), (["a"], "float32"), (["a"], "datetime")],
)
def test_conform_refuses_another_type(values, dtype):
    with pytest.raises(DataError, match=f"Column 'x' has to be {dtype}"):
        conform(pd.DataFrame({"x": values}), {"x": dtype})


def test_conform_names_a_missing_column():
    with pytest.raises(DataError, match="no column 'x'; expected are x"):
        conform(pd.DataFrame({"y": [1]}), {"x": "int64"})
