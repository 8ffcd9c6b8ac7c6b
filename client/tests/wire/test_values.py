import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_client._wire.values import (
    ENCODERS,
    INT64_MAX,
    NULL_INT64,
    ValueRefused,
    encode_boolean,
    encode_datetime,
    encode_float,
    encode_integer,
    encode_plain,
    encode_string,
)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
int64s = st.integers(NULL_INT64 + 1, INT64_MAX)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_of_any_script_survives(text):
    assert encode_string(text).decode("utf-8") == text


@given(int64s)
def test_integers_are_exact(number):
    assert encode_integer(number) == number
    assert encode_integer(np.int64(number)) == number


@given(int64s)
def test_nanoseconds_are_exact_from_every_type(nanoseconds):
    assert encode_datetime(nanoseconds) == nanoseconds
    assert encode_datetime(np.datetime64(nanoseconds, "ns")) == nanoseconds


@given(
    st.datetimes(datetime(1678, 1, 1), datetime(2262, 1, 1), timezones=zones),
    st.integers(0, 999),
)
def test_datetimes_iso_text_and_timestamps_agree(moment, rest_ns):
    since = moment - EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
    assert encode_datetime(moment) == microseconds * 1000
    assert encode_datetime(moment.isoformat()) == microseconds * 1000
    naive = moment.astimezone(timezone.utc).replace(tzinfo=None)
    assert encode_datetime(naive) == microseconds * 1000
    text = f"{naive:%Y-%m-%dT%H:%M:%S}.{naive.microsecond:06}{rest_ns:03}Z"
    assert encode_datetime(text) == microseconds * 1000 + rest_ns


@given(st.integers(-(2**62), 2**62))
def test_pandas_timestamps_to_the_nanosecond(nanoseconds):
    pandas = pytest.importorskip("pandas")
    stamp = pandas.Timestamp(nanoseconds)
    assert encode_datetime(stamp) == nanoseconds
    assert encode_datetime(stamp.tz_localize("UTC").tz_convert("America/New_York")) == nanoseconds


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01 00:01", 60),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:00:00-0500", 0),
        ("1970-01-01T00:00:01,5z", 1.5),
    ],
)
def test_iso_8601(text, expected_s):
    assert encode_datetime(text) == int(expected_s * 10**9)


@pytest.mark.parametrize("unit", ["Y", "M", "D", "h", "s", "ms", "us", "ns"])
def test_datetime64_of_every_unit(unit):
    assert encode_datetime(np.datetime64("2001-01-01", unit)) == 978307200 * 10**9


@pytest.mark.parametrize("kind", ENCODERS)
def test_null_of_every_kind(kind):
    pandas = pytest.importorskip("pandas")
    nulls = [None, math.nan, np.float32("nan"), np.datetime64("NaT"), pandas.NaT, pandas.NA]
    for null in nulls:
        encoded = ENCODERS[kind](null)
        assert encoded in (b"", NULL_INT64) or math.isnan(encoded)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_fp32_survives(number):
    assert np.float32(encode_float(number)) == np.float32(number)


def test_floats_of_other_types():
    assert encode_float(Decimal("9.5")) == 9.5
    assert encode_float(3) == 3.0
    assert encode_float(np.int8(3)) == 3.0
    assert math.isnan(encode_float(Decimal("NaN")))


def test_booleans():
    assert [encode_boolean(value) for value in (True, np.bool_(False), 1, 0)] == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", 42),
        ("string", b"bytes"),
        ("string", "\ud800"),
        ("integer", 3.0),
        ("integer", "3"),
        ("integer", 2**63),
        ("integer", NULL_INT64 - 1),
        ("boolean", 2),
        ("boolean", "yes"),
        ("float", True),
        ("float", "1.5"),
        ("float", math.inf),
        ("float", 3.5e38),
        ("float", 10**400),
        ("datetime", 1.5),
        ("datetime", True),
        ("datetime", "yesterday"),
        ("datetime", "2024-02-30"),
        ("datetime", "2024-01-01T00:00:00+24:00"),
        ("datetime", "1500-01-01"),
        ("datetime", datetime(2300, 1, 1)),
        ("datetime", np.datetime64("2300-01-01")),
        ("datetime", np.datetime64("0001-01-01")),
        ("datetime", np.datetime64(1, "ps")),
        ("datetime", (2024, 1, 1)),
    ],
)
def test_what_is_refused_and_what_is_expected_instead(kind, value):
    with pytest.raises(ValueRefused, match=r"^(an? |ISO-8601)"):
        ENCODERS[kind](value)


plain_values = {
    "string": st.text(),
    "integer": st.integers(NULL_INT64 - 2, INT64_MAX + 2),
    "boolean": st.booleans(),
    "float": st.floats() | st.floats(3.3e38, 3.5e38),
    "datetime": st.integers(NULL_INT64 - 2, INT64_MAX + 2),
}


@pytest.mark.parametrize("kind", ENCODERS)
@given(st.data())
def test_columns_at_once_are_as_one_by_one(kind, data):
    mixed = st.sampled_from([*plain_values.values(), st.none()]).flatmap(lambda values: values)
    column = data.draw(st.lists(data.draw(st.sampled_from([plain_values[kind], mixed])), max_size=4))
    at_once = encode_plain(kind, column)
    if at_once is not None:
        assert at_once == [ENCODERS[kind](value) for value in column]


@pytest.mark.parametrize(
    ("kind", "column"), [("string", ["a", ""]), ("integer", [1, -1]), ("float", [1.5]), ("datetime", [5])]
)
def test_plain_columns_go_at_once(kind, column):
    assert encode_plain(kind, column) is not None


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 3.5e38, -3.5e38])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_floats_are_taken_at_once_only_where_each_of_them_fits(odd, place):
    values = [1.0, -2.0]
    assert encode_plain("float", values) == values
    assert encode_plain("float", [*values[:place], odd, *values[place:]]) is None
