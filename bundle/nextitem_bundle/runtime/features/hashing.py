"""The hash of a string, as nextitem_training's operators HashBucket and HashedCross have it.

ONNX has no operator that sees the bytes of a string, so the numpy program alone has this one. The hash of an integer is
arithmetic and needs no kernel of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .kernels import kernel

if TYPE_CHECKING:
    from ..request import Array
    from .program import Instruction

#: Hashes are residues of this prime.
PRIME = 2**31 - 1


@kernel("hash_string")
def hash_string(_: Instruction, __: Mapping[str, Array], values: Array) -> Array:
    """zlib's CRC-32 of each string's UTF-8, modulo PRIME: int64 of the shape of `values`, object array of str."""
    hashed = [zlib.crc32(value.encode()) for value in values.ravel().tolist()]
    residues: Array = np.array(hashed, dtype=np.int64).reshape(values.shape) % PRIME
    return residues
