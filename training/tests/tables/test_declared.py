import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.interactions import read_interactions


@pytest.fixture
def read(tmp_path):
    """Reads the column x of a Parquet file, or of a CSV where its values are one text."""

    def of(values, kind, part="categorical"):
        path = tmp_path / ("x.csv" if isinstance(values, str) else "x.parquet")
        if isinstance(values, str):
            lines = "".join(f"1,a,2024-01-01,{value}\n" for value in values.split())
            path.write_text("session_id,item_id,timestamp,x\n" + lines)
        else:
            others = {
                "session_id": [1] * len(values),
                "item_id": ["a"] * len(values),
                "timestamp": ["2024-01-01"] * len(values),
            }
            pq.write_table(pa.table({**others, "x": values}), path)
        frame, dtypes = read_interactions(path, DataConfig(types={"x": kind}, **{part: ("x",)}))
        return dtypes["x"], frame["x"].tolist()

    return of


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ("7 8", "string", ("string", ["7", "8"])),
        ([7, 8], "string", ("string", ["7", "8"])),
        (pa.array([b"a", b"b"]), "string", ("string", ["a", "b"])),
        ("007 +8 9. 12.0 -3", "integer", ("int64", [7, 8, 9, 12, -3])),
        (["7", "08"], "integer", ("int64", [7, 8])),
        ([7.0, 8.0], "integer", ("int64", [7, 8])),
        ([True, False], "integer", ("int64", [1, 0])),
    ],
)
def test_identifiers(read, values, kind, expected):
    assert read(values, kind) == expected


def test_nulls_among_declared_integers(read):
    assert str(read([7.0, float("nan"), None], "integer")[1]) == "[7, <NA>, <NA>]"
    assert str(read("7 NULL", "integer")[1][:2]) == "[7, <NA>]"


@pytest.mark.parametrize("values", ["1 2.5", ["1", "2.5"], [1.0, 2.5]])
def test_numbers(read, values):
    assert read(values, "float", "continuous") == ("float32", [1.0, 2.5])


def test_decimals_are_floats_where_that_is_declared(read):
    prices = pa.array(["1.25", "2.50"]).cast(pa.float64()).cast(pa.decimal128(9, 2))
    assert read(prices, "float", "continuous") == ("float32", [1.25, 2.5])


def test_times_as_text_are_declared_or_seen(tmp_path):
    for settings in ({}, {"types": {"timestamp": "datetime"}}):
        (tmp_path / "x.csv").write_text("session_id,item_id,timestamp\n1,a,2024-01-01 10:00:00Z\n")
        frame, _ = read_interactions(tmp_path, DataConfig(**settings))
        assert str(frame["timestamp"][0]) == "2024-01-01 10:00:00"


@pytest.mark.parametrize(
    ("values", "kind", "part"),
    [
        ("7 x", "integer", "categorical"),
        ([7.5, 8.0], "integer", "categorical"),
        ([1.5, 2.0], "string", "categorical"),
        ([True, False], "string", "categorical"),
        (["a", "b"], "float", "continuous"),
        (["a", "b"], "datetime", "categorical"),
        ([[1], [2]], "float", "continuous"),
    ],
)
def test_values_without_an_equal_in_the_type_are_refused(read, values, kind, part):
    with pytest.raises(
        DataError, match=rf"x\.(csv|parquet): column 'x' is .* and cannot become {kind}, which \[data.types\] says"
    ):
        read(values, kind, part)


def test_parts_of_several_types_are_joined_by_the_declared_one(tmp_path):
    (tmp_path / "a.csv").write_text("session_id,item_id,timestamp\n1,7,2024-01-01\n")
    table = {"session_id": [1], "item_id": ["8"], "timestamp": [datetime.date(2024, 1, 1)]}
    pq.write_table(pa.table(table), tmp_path / "b.parquet")
    assert read_interactions(tmp_path, DataConfig())[0]["item_id"].tolist() == ["7", "8"]
    declared, _ = read_interactions(tmp_path, DataConfig(types={"item_id": "integer"}))
    assert declared["item_id"].tolist() == [7, 8]
