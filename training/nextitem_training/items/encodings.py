"""How a fitted items workflow encodes each attribute, as plain numbers: what a catalogue needs of it where NVTabular is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Categories:
    """A categorical or multi-hot attribute: a value's code is its place in `values` and 3; other values 2, null 1."""

    name: str
    values: np.ndarray
    """object (strings) or int64."""


@dataclass(frozen=True)
class Scale:
    """A number: (x - mean) / std, of log(1 + max(x, 0)) where `log` is set; null becomes 0."""

    name: str
    log: bool
    mean: float
    std: float


Encoding = Categories | Scale
