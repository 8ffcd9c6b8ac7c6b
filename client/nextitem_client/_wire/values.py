"""One Python value → the value on the wire, by the kind of its feature.

Null (None, NaN, NaT, pandas' NA) becomes the wire's null. Integers never pass through floats, and
date-times are exact to the nanosecond.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, cast

import numpy as np

from nextitem_bundle.wire import NULL_INT64, NULL_STRING

INT64_MAX = 2**63 - 1

# What rounds to FP32's largest value or below fits; an infinity or beyond does not.
_FP32_END = 2.0**128 - 2.0**103

_SHOWN_CHARACTERS = 60

NULL_BYTES = NULL_STRING.encode()
NULL_FP32 = math.nan

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO_8601 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


class ValueRefused(Exception):  # noqa: N818 -- private; becomes an InvalidSession with the place
    """A value does not fit; the text says what is expected."""


def is_null(value: Any) -> bool:
    """None, NaN of any float type, NaT, and pandas' NA (recognised without importing pandas)."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return type(value).__name__ in ("NAType", "NaTType")


def is_list(value: Any) -> bool:
    """Whether `value` is a column or list rather than a single value."""
    if type(value) is list:
        return True  # mostly; the rest takes longer
    if isinstance(value, (str, bytes, bytearray, Mapping)) or is_null(value):
        return False
    if isinstance(value, np.ndarray):
        return cast("np.ndarray[Any, Any]", value).ndim > 0
    return hasattr(value, "__len__") and hasattr(value, "__iter__")


def show(value: Any) -> str:
    """`value` as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def encode_string(value: Any) -> bytes:
    """Str → UTF-8."""
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueRefused("a str that is valid Unicode (it has a lone surrogate)") from None
    if is_null(value):
        return NULL_BYTES
    raise ValueRefused("a str")


def encode_integer(value: Any) -> int:
    """Int, bool or numpy integer → int64."""
    if _is_integer(value) or _is_boolean(value):
        return _int64(int(value))
    if is_null(value):
        return NULL_INT64
    raise ValueRefused("an int")


def encode_boolean(value: Any) -> int:
    """Bool, or 0 and 1 → int64."""
    if _is_boolean(value) or (_is_integer(value) and value in (0, 1)):
        return int(value)
    if is_null(value):
        return NULL_INT64
    raise ValueRefused("a bool")


def encode_float(value: Any) -> float:
    """A finite real number → float that fits FP32."""
    if is_null(value):
        return NULL_FP32
    if _is_integer(value) or isinstance(value, (float, Decimal, np.floating)):
        return _fp32(value)
    raise ValueRefused("a float")


def encode_datetime(value: Any) -> int:
    """Date-time → int64 nanoseconds since 1970 UTC; what has no time zone is UTC.

    datetime (pandas' Timestamp too), numpy.datetime64, ISO-8601 text, or int nanoseconds.
    """
    if is_null(value):
        return NULL_INT64
    if isinstance(value, datetime):
        return _in_range(_nanoseconds(value) + getattr(value, "nanosecond", 0))
    if isinstance(value, np.datetime64):
        return _from_datetime64(value)
    if isinstance(value, str):
        return _in_range(_from_iso_8601(value))
    if _is_integer(value):
        return _int64(int(value))
    raise ValueRefused("a datetime, numpy.datetime64, ISO-8601 text or int nanoseconds since 1970 UTC")


ENCODERS: Mapping[str, Callable[[Any], Any]] = {
    "string": encode_string,
    "integer": encode_integer,
    "boolean": encode_boolean,
    "float": encode_float,
    "datetime": encode_datetime,
}


def encode_plain(kind: str, values: list[Any]) -> list[Any] | None:
    """A whole column of one plain type at once, several times faster; None where values need a closer look."""
    types = set(map(type, values))
    if len(types) != 1:
        return None
    (plain,) = types
    if kind == "string" and plain is str:
        try:
            return [value.encode("utf-8") for value in values]
        except UnicodeEncodeError:
            return None
    if kind in ("integer", "datetime") and plain is int:
        return values if min(values) >= NULL_INT64 and max(values) <= INT64_MAX else None
    if kind == "float" and plain is float:
        # The sum of what fits is finite; NaN, which min and max may pass over, makes it NaN.
        return values if min(values) > -_FP32_END and max(values) < _FP32_END and math.isfinite(sum(values)) else None
    return None


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _fp32(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if number != number:  # Decimal("NaN")
        return NULL_FP32
    if abs(number) < _FP32_END:
        return number
    raise ValueRefused("a finite number within FP32 (±3.4e38)")


def _int64(number: int) -> int:
    if NULL_INT64 <= number <= INT64_MAX:
        return number
    raise ValueRefused("an int that fits 64 bits")


def _in_range(nanoseconds: int) -> int:
    if NULL_INT64 < nanoseconds <= INT64_MAX:
        return nanoseconds
    raise ValueRefused("a date-time between the years 1678 and 2262")


def _nanoseconds(value: datetime) -> int:
    # A plain datetime first: a subclass may bring arithmetic of its own (pandas' does).
    plain = datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        tzinfo=value.tzinfo if value.tzinfo is not None else timezone.utc,
        fold=value.fold,
    )
    since = plain - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000


def _from_datetime64(value: np.datetime64) -> int:
    try:
        nanoseconds = value.astype("datetime64[ns]")
        # numpy 1 wraps around silently, which the year tells; numpy 2 raises.
        same_year = value.astype("datetime64[Y]") == nanoseconds.astype("datetime64[Y]")
        if same_year and nanoseconds.astype(value.dtype) == value:
            return int(nanoseconds.astype(np.int64))
    except OverflowError:
        pass
    raise ValueRefused("a numpy.datetime64 of whole nanoseconds between 1678 and 2262")


def _from_iso_8601(text: str) -> int:
    match = _ISO_8601.fullmatch(text.strip())
    if match is None:
        raise ValueRefused("ISO-8601 text such as 2024-05-01T10:00:00Z")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)).replace(
            tzinfo=timezone.utc
        )
    except ValueError as error:
        raise ValueRefused(f"ISO-8601 text of a real date and time ({error})") from None
    exact = _nanoseconds(moment) + int((fraction or "").ljust(9, "0"))
    return exact - _offset_s(zone) * 10**9


def _offset_s(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if offset >= timedelta(days=1) or int(digits[2:]) > 59:
        raise ValueRefused("ISO-8601 text with an offset below 24 hours")
    return int(offset.total_seconds()) * (-1 if zone[0] == "-" else 1)
