import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.interactions import read_interactions

TIMES = [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]
DATA = DataConfig(continuous=("x",))
AS_CATEGORY = DataConfig(categorical=("x",))


@pytest.fixture
def parts(tmp_path):
    """Writes a folder of one file for each set of columns; reads it."""

    def read(*tables, data=DATA):
        for number, columns in enumerate(tables):
            table = {"session_id": [1, 1], "item_id": ["a", "b"], "timestamp": TIMES, "x": [1, 2]} | columns
            pq.write_table(
                pa.table({name: values for name, values in table.items() if values is not None}),
                tmp_path / f"{number}.parquet",
            )
        return read_interactions(tmp_path, data)

    return read


def test_a_part_that_spells_a_column_otherwise_is_named(parts):
    with pytest.raises(DataError, match=r"1\.parquet has no column 'item_id'. Did you mean 'Item_ID'\?"):
        parts({}, {"item_id": None, "Item_ID": ["c", "d"]})


def test_columns_that_are_not_configured_are_neither_read_nor_compared(parts):
    frame, _ = parts({"other": [1, 2]}, {"other": [[1], [2]]}, {"note": ["y", "z"]})
    assert [*frame] == ["item_id", "timestamp", "x", "session_id", "row_position"]
    assert len(frame) == 6


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    names = ["session_id", "item_id", "timestamp", "item_id"]
    pq.write_table(pa.table([[1], ["a"], [TIMES[0]], ["b"]], names=names), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet has more than one column 'item_id'"):
        read_interactions(tmp_path / "x.parquet", DataConfig())


def test_strings_that_are_no_utf_8_name_the_file(parts):
    offsets, text = pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xfca")
    with pytest.raises(DataError, match=r"0\.parquet cannot be read as Parquet: .*[Ii]nvalid UTF8"):
        parts({"item_id": pa.Array.from_buffers(pa.string(), 2, [None, offsets, text])})


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (pa.array([1, 2], pa.int8()), pa.array([300, None], pa.int32()), [1, 2, 300, None]),
        (pa.array([1, 2], pa.uint16()), pa.nulls(2), [1, 2, None, None]),
        (pa.array([None, None], pa.string()), pa.array([1, 2]), [None, None, 1, 2]),
        (pa.array([1, 2]), pa.array([0.5, None]), [1.0, 2.0, 0.5, None]),
        (pa.array([0.5, 1.5], pa.float32()), pa.array([0.25, 2], pa.float64()), [0.5, 1.5, 0.25, 2.0]),
    ],
)
def test_types_that_lose_nothing_are_joined(parts, first, second, expected):
    frame, _ = parts({"x": first}, {"x": second})
    assert [None if pd.isna(value) else value for value in frame["x"]] == expected


def test_strings_of_all_widths_and_dictionaries_are_joined(parts):
    several = [pa.array(["u", "v"], pa.large_string()), pa.array(["u", "w"]).dictionary_encode(), pa.array(["x", "y"])]
    frame, _ = parts(*({"x": values} for values in several), data=AS_CATEGORY)
    assert frame["x"].tolist() == ["u", "v", "u", "w", "x", "y"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array(TIMES, pa.timestamp("us", "Europe/Berlin")), pa.array(TIMES, pa.timestamp("s", "UTC"))),
        (pa.array(TIMES, pa.timestamp("us")), pa.array([time.date() for time in TIMES], pa.date32())),
    ],
)
def test_times_of_several_units_are_joined(parts, first, second):
    frame, _ = parts({"timestamp": first}, {"timestamp": second})
    assert frame["timestamp"].tolist() == TIMES * 2


@pytest.mark.parametrize(
    ("column", "first", "second", "types"),
    [
        ("item_id", ["a", "b"], [1, 2], "string in .*0.parquet and int64 in .*2.parquet"),
        ("x", [1, 2], ["1", "2"], "int64 in .*0.parquet and string in .*2.parquet"),
        ("x", [1, 2], [True, False], "int64 in .*0.parquet and bool in .*2.parquet"),
        ("timestamp", TIMES, [1, 2], r"timestamp\[us\] in .* and int64 in"),
        (
            "timestamp",
            TIMES,
            pa.array(TIMES, pa.timestamp("us", "UTC")),
            r"timestamp\[us\] in .* and timestamp\[us, tz=UTC\] in",
        ),
        ("item_id", [1, 2], [1.0, 2.0], "int64 in .* and double in"),
    ],
)
def test_types_that_differ_name_both_files(parts, column, first, second, types):
    with pytest.raises(DataError, match=f"Column '{column}' is {types}.*say in \\[data.types\\]"):
        parts({column: first}, {column: first}, {column: second})


def test_a_value_that_the_common_type_lacks_names_the_file(parts):
    large = pa.array([2**64 - 1, 1], pa.uint64())
    with pytest.raises(DataError, match=r"1\.parquet: column 'x' is uint64 and cannot be read as int64"):
        parts({}, {"x": large})
