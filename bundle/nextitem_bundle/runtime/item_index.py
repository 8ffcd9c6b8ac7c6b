"""Raw item ids to codes, for the filters of a request and for the availability list.

A code whose id is null is that of an item which the catalogue no longer has: no id leads to it, and it is never available.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .request import Array
from .special_ids import FIRST_ITEM, UNKNOWN
from .wire import NULL_INT64, NULL_STRING

FILES = "item_keys.npy", "item_codes.npy"
#: The files of another index: from what a workflow gives for items, where those are no codes, to the codes.
VALUES = "item_values.npy", "item_value_codes.npy"


class ItemIndex:
    """The catalogue, sorted: keys int64 or UTF-8 bytes [V - 3] and the code beside each; mapped from disk.

    keys: null, which comes before every id, once for each code without an id.
    """

    def __init__(self, keys: Array, codes: Array) -> None:
        self._all = keys, codes
        null = np.array(NULL_INT64 if keys.dtype.kind == "i" else NULL_STRING.encode(), dtype=keys.dtype)
        nulls = int(np.searchsorted(keys, null, side="right"))
        # An index of what a workflow gives for items (VALUES) may have a value that is null, with null's code.
        self._removed = codes[: int(np.count_nonzero(codes[:nulls] >= FIRST_ITEM))]
        self._keys, self._codes = keys[len(self._removed) :], codes[len(self._removed) :]

    @property
    def cardinality(self) -> int:
        """V, the special codes and those without an id included."""
        return FIRST_ITEM + len(self._removed) + len(self._keys)

    @property
    def listed(self) -> Array:
        """Bool [V], whether an item of the catalogue has the code; True for the special codes, which no ranking returns."""
        listed = np.ones(self.cardinality, dtype=bool)
        listed[self._removed] = False
        return listed

    @property
    def of_strings(self) -> bool:
        """Whether the raw ids are strings."""
        return self._keys.dtype.kind == "S"

    @classmethod
    def of(cls, values: Array) -> ItemIndex:
        """The index of raw ids by code from 3, int64 or object array of str; null ("" or the smallest int64) where none is."""
        keys = np.array(_utf8(values), dtype=np.bytes_) if values.dtype == np.object_ else values
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], order + FIRST_ITEM)

    def save(self, folder: Path, files: tuple[str, str] = FILES) -> None:
        """Write the two npy files."""
        for name, values in zip(files, self._all, strict=True):
            np.save(folder / name, values, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, files: tuple[str, str] = FILES) -> ItemIndex:
        """Map what `save` wrote."""
        keys, codes = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in files)
        return cls(keys, codes)

    def codes(self, ids: Array) -> Array:
        """int64 codes of raw ids [N], int64 or object array of str; UNKNOWN for what is not in the catalogue."""
        if not len(self._keys) or not len(ids):
            return np.full(len(ids), UNKNOWN, dtype=np.int64)
        wanted = self._as_keys(ids) if self.of_strings else ids
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[place] == wanted, self._codes[place], UNKNOWN)

    def _as_keys(self, ids: Array) -> Array:
        """Strings in the keys' own type: numpy would copy the whole catalogue as wide as the longest id asked for.

        What the type cannot tell from a key, longer ones and those that end in NUL, becomes the empty string, which is no
        item.
        """
        width = self._keys.dtype.itemsize
        fitting = [raw if len(raw) <= width and not raw.endswith(b"\0") else b"" for raw in _utf8(ids)]
        return np.array(fitting, dtype=self._keys.dtype)


def _utf8(values: Array) -> list[bytes]:
    # A list of an operator's may hold half a surrogate pair, which no item does.
    return [value.encode("utf-8", "surrogatepass") for value in values.tolist()]
