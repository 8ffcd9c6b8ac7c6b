"""TargetEncoding: the target's smoothed mean per value, the same number wherever the value stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from merlin.schema import ColumnSchema, Schema, Tags
from nvtabular import ColumnSelector
from nvtabular.ops import StatOperator


class TargetEncoding(StatOperator):
    """(sum of the target + p_smooth · mean of all) / (count + p_smooth) per value (Micci-Barreca, 2001).

    NVTabular 23.8's own operator draws folds by row position, also where nothing is fitted, so that equal values get
    different numbers. Without folds a row's own target is part of its number: fit on interactions from before those
    that the model is trained on, or keep p_smooth well above 1. Null, and values that fitting never saw, get the mean
    of all.

    The output is `TE_<column>_<target>`, or with `(a, b)` selected `TE_a_b_<target>`.

    Args:
        target: a numeric column. It is read while fitting alone; afterwards `workflow.remove_inputs([target])` takes it
            out of what a request has to carry.
        p_smooth: the number of interactions that the mean of all counts as, above 0.
        out_dtype: numpy's dtype of the output.
        name_sep: joins the parts of an output's name.

    Raises:
        ValueError: `target` is not one column's name, or `p_smooth` is not above 0.
    """

    def __init__(self, target: str, p_smooth: float = 20, out_dtype: Any = np.float32, name_sep: str = "_") -> None:
        super().__init__()
        if not isinstance(target, str):
            raise ValueError(f"target is {target!r}; it has to be the name of one column")
        if not p_smooth > 0:
            raise ValueError(f"p_smooth is {p_smooth}; it has to be above 0")
        self.target = target
        self.p_smooth = p_smooth
        self.out_dtype = np.dtype(out_dtype).name
        self.name_sep = name_sep
        self.mean: float | None = None
        self.means: dict[str, pd.DataFrame] = {}
        """By output: the key columns and `mean`, float64, one row a value, in rising order."""

    def fit(self, col_selector: ColumnSelector, ddf: Any) -> Any:
        """Counts and sums of dask's DataFrame, computed by dask."""
        known = ddf[ddf[self.target].notnull()]
        sums = {
            name: known.groupby(columns)[self.target].agg(["count", "sum"])
            for name, columns in self.column_mapping(col_selector).items()
        }
        return sums, known[self.target].mean()

    def fit_finalize(self, dask_stats: Any) -> None:
        """Counts and sums become smoothed means."""
        sums, mean = dask_stats
        self.mean = float(mean)
        for name, table in sums.items():
            smoothed = (table["sum"] + self.p_smooth * self.mean) / (table["count"] + self.p_smooth)
            self.means[name] = smoothed.rename("mean").sort_index().reset_index()

    def clear(self) -> None:
        """Forgets what was fitted."""
        self.mean, self.means = None, {}

    def transform(self, col_selector: ColumnSelector, df: pd.DataFrame) -> pd.DataFrame:
        """One column of means for each selected column or group of columns."""
        encoded = {}
        for name, columns in self.column_mapping(col_selector).items():
            found = df[columns].merge(self.means[name], on=columns, how="left")["mean"]
            encoded[name] = found.fillna(self.mean).to_numpy(dtype=self.out_dtype)
        return pd.DataFrame(encoded, index=df.index)

    def column_mapping(self, col_selector: ColumnSelector) -> dict[str, list[str]]:
        """The outputs by name and what they are made of: not of the target, which a request does not have."""
        groups = [[group] if isinstance(group, str) else list(group) for group in col_selector.grouped_names]
        return {self.name_sep.join(["TE", *group, self.target]): group for group in groups}

    def compute_selector(
        self,
        input_schema: Schema,
        selector: ColumnSelector,
        parents_selector: ColumnSelector | None = None,
        dependencies_selector: ColumnSelector | None = None,
    ) -> ColumnSelector | None:
        """The columns to encode, without the target."""
        return parents_selector

    @property
    def dependencies(self) -> list[str]:
        """The target."""
        return [self.target]

    def _compute_properties(self, col_schema: ColumnSchema, input_schema: Schema) -> ColumnSchema:
        return col_schema.with_properties({})

    @property
    def output_tags(self) -> list[Tags]:
        """Continuous."""
        return [Tags.CONTINUOUS]

    @property
    def output_dtype(self) -> Any:
        """As given."""
        return np.dtype(self.out_dtype)
