"""The items of a training: their table, and the workflow that encodes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import nvtabular as nvt
import pandas as pd
import torch

from nextitem_training.config import Config, ItemsConfig
from nextitem_training.config.items import FILE
from nextitem_training.items.table import ItemsTable
from nextitem_training.items.workflow import ItemContents, describe_items, encode_items, fit_items
from nextitem_training.model import SessionModel
from nextitem_training.schema import SessionSchema


@dataclass(frozen=True)
class FittedItems:
    """An items table and the workflow that was fitted on it; None where [items] has vectors alone."""

    table: ItemsTable
    workflow: nvt.Workflow | None
    config: ItemsConfig

    @classmethod
    def fit(cls, table: ItemsTable, clicked: np.ndarray, config: ItemsConfig, storage: Path) -> FittedItems:
        """Fits on the items that training knows, by raw id. Raises DataError as `fit_items` does."""
        return cls(table, fit_items(table, clicked, config, storage), config)

    def contents(self, values: np.ndarray) -> ItemContents:
        """What is known of the items of a vocabulary, by code."""
        return encode_items(self.workflow, self.table, values, self.config)

    def described(self, schema: SessionSchema) -> SessionSchema:
        """The run's schema with the table in it."""
        return dataclasses.replace(schema, items=describe_items(self.workflow, self.table, self.config))

    def fill(self, model: SessionModel, values: np.ndarray) -> None:
        """Gives a model the attributes of the items of its vocabulary."""
        assert model.content is not None
        found = self.contents(values)
        codes, numbers, vectors = map(torch.from_numpy, (found.codes, found.numbers, found.vectors))
        model.content.fill(codes, [torch.from_numpy(bag) for bag in found.bags], numbers, vectors)

    def coverage(self, values: np.ndarray, *, added: bool) -> dict[str, int]:
        """How many rows the table has, how many of them are of items that training clicked, and how many such items have none.

        Args:
            values: raw ids of the items that training clicked.
            added: whether the table's other items are part of the catalogue.
        """
        rows = len(self.table.frame)
        clicked = int((self.table.rows_of(values) >= 0).sum())
        return {
            "rows": rows,
            "clicked": clicked,
            "clicked_without_row": len(values) - clicked,
            "added": rows - clicked if added else 0,
        }

    def unclicked(self, values: np.ndarray) -> np.ndarray:
        """Raw ids of the table that are not in a vocabulary, in the table's order."""
        ids = self.table.ids
        return ids[pd.Index(values).get_indexer(pd.Index(ids)) < 0]


def as_kept(config: Config, table: ItemsTable | None) -> Config:
    """The configuration as the run directory keeps it: with the vectors' width and their file's mere name."""
    if table is None or table.vectors is None:
        return config
    name = config.items.vectors
    name = Path(name).name if name.endswith(FILE) else name
    items = dataclasses.replace(config.items, vectors=name, vectors_width=table.vectors.shape[1])
    return dataclasses.replace(config, items=items)
