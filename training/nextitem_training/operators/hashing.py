"""The hash of a value, and of nothing but the value: the same on every machine, in numpy and in an ONNX graph.

Integers: Carter and Wegman's multiply-add over two halves, modulo the prime P = 2**31 - 1 ("Universal classes of hash
functions", 1979), then the fifth power, which permutes the residues of P because 5 does not divide P - 1. No product
exceeds 63 bits, so that int64 multiplication and remainder are all it takes. Strings: zlib's CRC-32 of their UTF-8.
The exporter has the same definition in nextitem_bundle/runtime/features/hashing.py; its tests compare them.
"""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

from nextitem_training.errors import DataError
from nextitem_training.special_ids import NULL

PRIME = 2**31 - 1
LOW, HIGH, SHIFT, COMBINE = 1_103_515_245, 1_664_525_011, 1_013_904_223, 1_220_703_125
_HALF = 2**31

#: Codes: 0 padding, 1 null, then one for each bucket, as Categorify has them for what is outside its vocabulary.
FIRST_BUCKET = NULL + 1


def hash_series(values: pd.Series) -> np.ndarray:
    """int64 [N], 0 to P - 1; 0 for null. Takes strings, booleans, integers and date-times.

    Raises DataError for numbers that are not whole, whose equality depends on the last bit.
    """
    null = values.isna().to_numpy()
    hashed = np.zeros(len(values), dtype=np.int64)
    present = values.loc[~null]
    if pd.api.types.is_datetime64_any_dtype(present.dtype):
        present = present.dt.tz_localize(None).astype("datetime64[ns]").astype(np.int64)
    if present.dtype == object or isinstance(present.dtype, (pd.StringDtype, pd.CategoricalDtype)):
        hashed[~null] = hash_strings(present)
    else:
        hashed[~null] = hash_integers(_whole(present))
    return hashed


def hash_integers(values: np.ndarray) -> np.ndarray:
    """int64 [N], 0 to P - 1, of int64 [N]."""
    low, high = np.mod(values, _HALF), np.floor_divide(values, _HALF)
    return _fifth_power((low * LOW + np.mod(high, PRIME) * HIGH + SHIFT) % PRIME)


def hash_strings(values: pd.Series) -> np.ndarray:
    """int64 [N], 0 to P - 1, of strings [N]; objects that are no strings raise DataError."""
    wrong = next((value for value in values if not isinstance(value, str)), None)
    if wrong is not None:
        raise DataError(
            f"Column '{values.name}' holds {wrong!r}, a {type(wrong).__name__}, among objects; hashed are strings, "
            "integers, booleans and date-times: give the column one of these types."
        )
    return np.fromiter((zlib.crc32(value.encode()) for value in values), np.int64, len(values)) % PRIME


def combine(hashes: list[np.ndarray]) -> np.ndarray:
    """int64 [N], 0 to P - 1, of several hashes [N]; their order counts."""
    mixed = np.zeros_like(hashes[0])
    for hashed in hashes:
        mixed = (mixed * COMBINE + hashed + SHIFT) % PRIME
    return _fifth_power(mixed)


def _fifth_power(values: np.ndarray) -> np.ndarray:
    square = values * values % PRIME
    return square * square % PRIME * values % PRIME


def _whole(values: pd.Series) -> np.ndarray:
    if pd.api.types.is_float_dtype(values.dtype) and not values.mod(1).eq(0).all():
        raise DataError(
            f"Column '{values.name}' holds {values.dtype} numbers that are not whole, whose equality depends on the "
            "last bit; hashed are strings, integers, booleans and date-times: bin the column or make it integer."
        )
    return values.to_numpy(dtype=np.int64)
