"""Groupby whose sort is stable."""

from __future__ import annotations

import copy

import pandas as pd
from nvtabular import ColumnSelector, ops


class Groupby(ops.Groupby):
    """NVTabular's Groupby, same arguments, where rows of equal sort columns keep their order.

    NVTabular 23.8 sorts by one column with an unstable quicksort: sessions with equal times come out in an order that
    depends on the other rows. The exporter sorts stably, so what it serves is what this operator trains.
    """

    def transform(self, col_selector: ColumnSelector, df: pd.DataFrame) -> pd.DataFrame:
        """One row a group."""
        if not self.sort_cols:
            return super().transform(col_selector, df)
        grouping = copy.copy(self)
        grouping.sort_cols = []
        ordered = df.sort_values(self.sort_cols, ascending=self.ascending, kind="stable", ignore_index=True)
        return super(Groupby, grouping).transform(col_selector, ordered)
