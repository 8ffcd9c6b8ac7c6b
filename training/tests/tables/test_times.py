from fractions import Fraction

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.interactions import read_interactions
from nextitem_training.tables.times import to_times

NEW_YEAR = 1_704_067_200  # 2024-01-01
SCALES = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def read(values, unit="", kind=None):
    column = pa.chunked_array([pa.array(values, kind)])
    return [None if time is None else pd.Timestamp(time) for time in to_times(column, "timestamp", unit).to_pylist()]


@pytest.mark.parametrize("number", [int, float])
@pytest.mark.parametrize("given_unit", [True, False])
@pytest.mark.parametrize("unit", SCALES)
def test_numbers_since_1970(unit, number, given_unit, caplog):
    with caplog.at_level("INFO"):
        times = read([number(NEW_YEAR * SCALES[unit]), None], unit if given_unit else "")
    assert times == [pd.Timestamp("2024-01-01"), None]
    assert ("2024-01-01 00:00 to 2024-01-01 00:00" in caplog.text) is not given_unit


def test_nan_is_null_and_numbers_alone_of_null_are_times():
    assert read([float("nan"), float(NEW_YEAR)]) == [None, pd.Timestamp("2024-01-01")]
    assert read([None, None], "s", pa.int64()) == [None, None]


@given(st.floats(-9e9, 9e9), st.sampled_from([*SCALES]))
def test_fractions_are_kept_to_the_nanosecond(value, unit):
    nanoseconds = Fraction(value) * 10**9 / SCALES[unit]
    assert abs(read([value], unit)[0].value - nanoseconds) <= Fraction(1, 2)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_nanoseconds_are_exact(value):
    assert read([value], "ns")[0].value == value


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            [1, 2, 3],
            r"holds numbers from 1 to 3, which are not all times .* Set \[data\] time_unit to one of s, ms, us, ns, or",
        ),
        ([0, NEW_YEAR * 1000], 'one of s, ms, us, ns; with "ms" the newest is 2024-01-01 00:00'),
        ([20240101, 20240102], "not all times from 2000 to 2100"),
        ([20240101100000], "not all times from 2000 to 2100"),
        ([float(NEW_YEAR), float("inf")], "not all times from 2000 to 2100"),
    ],
)
def test_numbers_whose_unit_is_not_certain_are_refused(values, sentence):
    with pytest.raises(DataError, match=f"Column 'timestamp' .*{sentence}"):
        read(values)


@pytest.mark.parametrize("values", [[NEW_YEAR * 1000], [float(NEW_YEAR) * 1000], [2**63 - 1], [float("inf")]])
def test_numbers_that_are_no_times_in_the_unit_are_refused(values):
    with pytest.raises(
        DataError, match=r"as seconds since 1970 are no times from 1677 to 2262; set \[data\] time_unit"
    ):
        read(values, "s")


def test_floats_that_cannot_hold_times_are_refused():
    with pytest.raises(DataError, match="holds times as float, which tells seconds"):
        read([float(NEW_YEAR)], "s", pa.float32())


def test_a_unit_of_what_is_no_number_is_refused():
    with pytest.raises(DataError, match=r'is timestamp\[us\] and no number; leave out \[data\] time_unit = "s"'):
        read([pd.Timestamp("2024-01-01").to_pydatetime()], "s")


def test_text_as_iso_8601_writes_it():
    assert read(["2024-01-01", "2024-01-01T10:00:00.000000001", ""]) == [
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-01-01T10:00:00.000000001"),
        None,
    ]
    assert read(["2024-01-01 10:00:00+02:00", "2024-01-01T10:00:00Z"])[0] == pd.Timestamp("2024-01-01 08:00", tz="UTC")


@pytest.mark.parametrize(
    "values", [["01.02.2024"], ["2024-01-01", "2024-01-01 10:00:00Z"], ["2024-01-01 10:00:00Z", "2024-01-01"]]
)
def test_other_text_is_refused(values):
    with pytest.raises(DataError, match="text that is no date-time as ISO 8601 writes it, such as 2024-03-01 12:30:00"):
        read(values)


def test_a_time_is_made_of_columns(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("s;item_id;year;month;day;hour\n1;a;2008;04;1;9\n1;b;2008;12;31;\n")
    data = DataConfig(session_column="s", categorical=("month",), time_from=("year", "month", "day"))
    frame, dtypes = read_interactions(path, data)
    assert frame["timestamp"].tolist() == [pd.Timestamp("2008-04-01"), pd.Timestamp("2008-12-31")]
    assert dtypes == {"item_id": "string", "timestamp": "datetime", "month": "string", "s": "int64"}


def write(path, lines):
    path.write_text("session_id,item_id,year,month,day\n" + lines)
    return path


def test_columns_that_make_no_time_are_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("session_id,item_id,year,month,day,name\n1,a,2008,2,30,x\n")
    with pytest.raises(DataError, match=r"The columns year, month, day of \[data\] time_from do not all say a time"):
        read_interactions(path, DataConfig(time_from=("year", "month", "day")))
    for settings in ({}, {"categorical": ("name",)}):
        with pytest.raises(DataError, match=r"Column 'name' is (string|text: .*); .* takes columns of integers"):
            read_interactions(path, DataConfig(time_from=("year", "month", "name"), **settings))
    with pytest.raises(DataError, match=r"Column 'day' is double; .* takes columns of integers"):
        read_interactions(write(path, "1,a,2008,2,1.5\n"), DataConfig(time_from=("year", "month", "day")))
    with pytest.raises(DataError, match=r"'timestamp' is null in 1 rows"):
        read_interactions(write(path, "1,a,2008,2,\n1,a,2008,2,3\n"), DataConfig(time_from=("year", "month", "day")))
