"""What is right: `workflow.transform` of NVTabular itself and the eager torch model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..graphs.ranker import RankerFeature
from ..runtime.codes import FIRST_ITEM, LOWEST_FLOAT32
from ..workflow.fitted import FittedWorkflow
from ..workflow.item_probe import quiet
from .items import ItemReference

Encoded = Mapping[str, np.ndarray]  # feature name to [length]


class Truth:
    """Encodes and scores raw sessions without any of the exported graphs.

    items: what codes mean, by NVTabular.

    tie_breaker_column is filled with the row's position. Where the workflow has none, NVTabular's unstable sort leaves
    sessions with equal times without a true answer.
    """

    def __init__(
        self,
        fitted: FittedWorkflow,
        model: nn.Module,
        features: Sequence[RankerFeature],
        item_feature: str,
        log_popularity: np.ndarray,
        tie_breaker_column: str | None,
        items: ItemReference,
    ) -> None:
        self._items = items
        self._fitted = fitted
        self._model = model
        self._features = features
        self._item_feature = item_feature
        self._log_popularity = log_popularity
        self._tie_breaker = tie_breaker_column

    def encode(self, sessions: Sequence[pd.DataFrame]) -> dict[int, Encoded]:
        """The model's features of each session that NVTabular answers, as it gives them, by the session's position.

        NVTabular raises on nulls in an integer vocabulary and on empty or all-null columns, and a Filter in the
        workflow drops sessions: those have no true answer.
        """
        rows = [row for row, session in enumerate(sessions) if self._has_answer(session)]
        with quiet():
            try:
                return self._transform(sessions, rows) if rows else {}
            except Exception:  # noqa: BLE001  NVTabular raises what pandas raised: ask for each session alone
                return {row: encoded for row in rows for encoded in self._alone(sessions, row)}

    def scores(self, encoded: Sequence[Encoded], window: int) -> np.ndarray:
        """The eager model's scores [B, V] float32, cold and empty sessions by popularity, special codes lowest.

        encoded: as the features step has it, with codes for items.
        """
        tensors, known = self._tensors(encoded, window)
        with torch.no_grad():
            scores = self._items.by_code(eager_scores(self._model, tensors).float().numpy())
        scores[~known] = self._log_popularity
        scores[:, :FIRST_ITEM] = LOWEST_FLOAT32
        return scores

    def heads(self, encoded: Sequence[Encoded], window: int) -> dict[str, np.ndarray]:
        """The eager model's further heads by name, float32 [B, N], the lowest FP32 for cold and empty sessions."""
        if not getattr(self._model, "head_widths", None):
            return {}
        tensors, known = self._tensors(encoded, window)
        ask = self._model.query_and_heads if hasattr(self._model, "query") else self._model.forward_and_heads
        with torch.no_grad():
            _, heads = ask(tensors)
        return {
            name: np.where(known[:, None], value.float().numpy(), np.float32(LOWEST_FLOAT32))
            for name, value in heads.items()
        }

    def _tensors(self, encoded: Sequence[Encoded], window: int) -> tuple[dict[str, torch.Tensor], np.ndarray]:
        """What the model reads, and whether it knows an item of a session, bool [B]."""
        arrays = {feature.name: np.zeros((len(encoded), window), dtype=feature.dtype) for feature in self._features}
        for row, session in enumerate(encoded):
            for name, values in session.items():
                arrays[name][row, : len(values)] = values
        known = (arrays[self._item_feature] >= FIRST_ITEM).any(axis=1)
        for row in range(len(encoded)):
            read = self._items.read_by_model({name: values[row] for name, values in arrays.items()}, self._item_feature)
            for name, values in read.items():
                arrays[name][row] = values
        return {name: torch.from_numpy(values) for name, values in arrays.items()}, known

    def _has_answer(self, session: pd.DataFrame) -> bool:
        if not len(session):
            return False
        columns = list(self._fitted.sort_columns)
        stable = self._tie_breaker in columns or not columns
        return stable or not session.duplicated(columns).any()

    def _alone(self, sessions: Sequence[pd.DataFrame], row: int) -> Iterator[Encoded]:
        with contextlib.suppress(Exception):
            yield from self._transform(sessions, [row]).values()

    def _transform(self, sessions: Sequence[pd.DataFrame], rows: list[int]) -> dict[int, Encoded]:
        parts = [sessions[row].assign(**{self._fitted.session_column: row}) for row in rows]
        frame = pd.concat(parts, ignore_index=True)
        if self._tie_breaker is not None:
            frame[self._tie_breaker] = np.arange(len(frame))
        table = self._fitted.transform(frame)
        if self._fitted.session_column in table:
            found = table[self._fitted.session_column].tolist()
        elif len(table) == len(rows):
            found = rows
        elif len(rows) > 1:
            raise LookupError("a Filter dropped sessions and the output does not say which")
        else:
            found = []
        return {
            int(row): {
                feature.name: np.asarray(table[feature.name].iloc[index], dtype=feature.dtype)
                for feature in self._features
            }
            for index, row in enumerate(found)
        }


def eager_scores(model: nn.Module, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Scores [B, V] of a model with `query` and `item_table`, or of one whose forward gives them."""
    if hasattr(model, "query"):
        return model.query(features) @ model.item_table().T
    return model(features)
