"""A shop's items: what is known of each, beside its id."""

from __future__ import annotations

import pandas as pd
import pytest

from nextitem_training.config import ItemsConfig

VECTORS = [[1.0, 0.0], [0.0, 1.0], None, [0.5, 0.5], [1.0, 1.0]]


@pytest.fixture
def rows() -> pd.DataFrame:
    """Five items with nulls in every column but the id."""
    return pd.DataFrame(
        {
            "sku": ["a", "b", "c", "d", "e"],
            "brand": ["north", "", "south", "north", "east"],
            "shop": pd.array([7, None, 2**60 + 1, 7, 9], dtype="Int64"),
            "price": [10.0, 20.0, None, -1.0, 40.0],
            "weight": [1.0, 2.0, 3.0, None, 5.0],
            "tags": [["new", "red"], [], None, ["red", None, ""], ["blue"]],
            "text": VECTORS,
            "name": ["A", "B", None, "D", "E"],
        }
    )


@pytest.fixture
def items() -> ItemsConfig:
    """Every kind of column."""
    return ItemsConfig(
        item_column="sku",
        categorical=("brand", "shop"),
        log_continuous=("price",),
        continuous=("weight",),
        multi_hot=("tags",),
        vectors="text",
        title="name",
        cold_start=True,
    )
