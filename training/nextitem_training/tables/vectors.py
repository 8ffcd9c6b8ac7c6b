"""Vectors of items in an .npz file with `ids` and `vectors`, matched to the items by raw id."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.npyio import NpzFile

from nextitem_training.errors import DataError
from nextitem_training.special_ids import FIRST_KNOWN

IDS = "ids"
VECTORS = "vectors"
_SAVED_BY = f"numpy.savez(path, {IDS}=…, {VECTORS}=…)"


@dataclass(frozen=True)
class PretrainedVectors:
    """N items' vectors."""

    path: str
    ids: np.ndarray
    """Raw item ids: object (strings) or int64 [N], each once."""
    vectors: np.ndarray
    """float32 [N, P]."""

    def rows(self, values: np.ndarray) -> np.ndarray:
        """By item code: float32 [V, P], zeros for padding, null, unknown and items without a vector.

        values: the item vocabulary, object or int64 [V - 3]. Raises DataError where the ids are of another type or none is an
        item.
        """
        if (values.dtype == object) != (self.ids.dtype == object):
            kinds = {True: "strings", False: "integers"}
            raise DataError(
                f"'{IDS}' in {self.path} holds {kinds[self.ids.dtype == object]}, but the item column holds "
                f"{kinds[values.dtype == object]}, so that no id is the same. Save the ids as the data has them."
            )
        places = pd.Index(self.ids).get_indexer(pd.Index(values))
        found = places >= 0
        if not found.any():
            raise DataError(
                f"None of the {len(self.ids)} ids in {self.path} is an item of the training interactions; they begin with "
                f"{self.ids[0]!r}, the items with {values[0]!r}. Give vectors of these items."
            )
        rows = np.zeros((FIRST_KNOWN + len(values), self.vectors.shape[1]), np.float32)
        rows[FIRST_KNOWN:][found] = self.vectors[places[found]]
        return rows


def read_vectors(path: str | Path, setting: str = "[inputs] pretrained_items") -> PretrainedVectors:
    """Reads the file, which a setting names, without pickle.

    Raises DataError where it is missing, no such file, or holds something else.
    """
    arrays = _arrays(Path(path), setting)
    ids, vectors = arrays[IDS], arrays[VECTORS]
    if vectors.ndim != 2 or not vectors.size or not np.issubdtype(vectors.dtype, np.floating):
        raise DataError(
            f"'{VECTORS}' in {path} is {vectors.dtype} {list(vectors.shape)}; expected are floats [N, P], a row per item."
        )
    if ids.shape != vectors.shape[:1]:
        raise DataError(
            f"'{IDS}' in {path} has the shape {list(ids.shape)} and '{VECTORS}' {list(vectors.shape)}; expected is one id "
            "per row."
        )
    if ids.dtype.kind not in "iuU":
        raise DataError(
            f"'{IDS}' in {path} is of type {ids.dtype}; expected are integers or strings (numpy's str, not bytes), as the item "
            "column has them."
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is named below
        vectors = vectors.astype(np.float32)
    wrong = ~np.isfinite(vectors).all(axis=1)
    if wrong.any():
        raise DataError(
            f"'{VECTORS}' in {path} holds NaN or infinite values in {int(wrong.sum())} rows, the first that of the id "
            f"{ids[wrong][0]!s}. Leave these items out: those without a vector get zeros."
        )
    ids = ids.astype(object if ids.dtype.kind == "U" else np.int64)
    again = pd.Index(ids).duplicated()
    if again.any():
        raise DataError(f"'{IDS}' in {path} holds {ids[again][0]!r} more than once; give one vector per item.")
    return PretrainedVectors(str(path), ids, vectors)


def _arrays(path: Path, setting: str) -> dict[str, Any]:
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, NpzFile):
            raise DataError(f"{path} holds one array; expected is an .npz file as {_SAVED_BY} writes it.")
        with file:
            missing = [name for name in (IDS, VECTORS) if name not in file.files]
            if missing:
                raise DataError(
                    f"{path} holds {', '.join(file.files) or 'nothing'}; expected are '{IDS}' and '{VECTORS}', as {_SAVED_BY} "
                    "writes them."
                )
            return {name: file[name] for name in (IDS, VECTORS)}
    except OSError as error:
        raise DataError(
            f"The pretrained item vectors {path} cannot be read ({error.strerror or error}); {setting} has to "
            "be the path of an .npz file."
        ) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read without pickle ({error}); expected is an .npz file as {_SAVED_BY} writes it, with ids of "
            "numpy's type str or of integers, no objects."
        ) from error
