"""What is right: `workflow.transform` of NVTabular itself and the eager torch model."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from ..plan import Plan
from ..workflow.item_probe import quiet
from .items import ItemReference

Encoded = Mapping[str, np.ndarray]  # feature name to [length]

EMPTY = "they have no interactions"
DROPPED = "the workflow drops them, as a Filter does"
TIED = (
    "their interactions of one time have no order, since NVTabular's sort is not stable: fit the workflow with a column behind "
    "the time in sort_cols, and name it as tie_breaker_column"
)

#: Ids that a session is asked under, to find out whether they matter.
_IDS = 16


@dataclasses.dataclass(frozen=True)
class Answers:
    """What NVTabular says of sessions, each by its position: its features, or why it has none."""

    encoded: Mapping[int, Encoded]
    unjudged: Mapping[int, str]

    def reason(self) -> str | None:
        """Why NVTabular has no answer, by the reason that most sessions have; None where it has all."""
        reasons = Counter(self.unjudged.values())
        return reasons.most_common(1)[0][0] if reasons else None


class Reference:
    """Encodes and scores raw sessions without any of the exported graphs.

    items: what codes mean, by NVTabular.

    Sessions have their raw ids in the workflow's session column, which a join may read. tie_breaker_column is filled with the
    row's position. Where the workflow has none, NVTabular's unstable sort leaves sessions with equal times without a true
    answer.
    """

    def __init__(self, plan: Plan, items: ItemReference) -> None:
        self._items = items
        self._fitted = plan.fitted
        self._model: Any = plan.model
        self._features = plan.features
        self._item_feature = plan.item_feature
        self._log_popularity = plan.log_popularity
        self._tie_breaker = plan.tie_breaker_column

    def encode(self, sessions: Sequence[pd.DataFrame]) -> Answers:
        """The model's features of each session that NVTabular answers, as it gives them.

        NVTabular raises on nulls in an integer vocabulary and on empty or all-null columns, and a Filter in the
        workflow drops sessions: those have no true answer.
        """
        unjudged = {row: why for row, session in enumerate(sessions) if (why := self._without_answer(session))}
        encoded: dict[int, Encoded] = {}
        with quiet():
            for rows in self._apart(sessions, [row for row in range(len(sessions)) if row not in unjudged]):
                try:
                    encoded |= self._transform(sessions, rows)
                except Exception:  # noqa: BLE001  NVTabular raises what pandas raised: ask for each session alone
                    for row in rows:
                        try:
                            encoded |= self._transform(sessions, [row])
                        except Exception as error:  # noqa: BLE001
                            unjudged[row] = _raised(error)
        dropped = {row: DROPPED for row in range(len(sessions)) if row not in encoded and row not in unjudged}
        return Answers(dict(sorted(encoded.items())), unjudged | dropped)

    def reads_ids(self, session: pd.DataFrame, others: Sequence[pd.DataFrame], feature: str) -> bool:
        """Whether a feature of the session is another one under the ids of other sessions."""
        ids = list(dict.fromkeys(self._id(other) for other in [session, *others] if len(other)))[:_IDS]
        renamed = [session.assign(**{self._fitted.session_column: session_id}) for session_id in ids]
        values = [encoded[feature] for encoded in self.encode(renamed).encoded.values()]
        return any(not np.array_equal(value, values[0], equal_nan=value.dtype.kind == "f") for value in values)

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

    def _without_answer(self, session: pd.DataFrame) -> str | None:
        if not len(session):
            return EMPTY
        columns = list(self._fitted.sort_columns)
        stable = self._tie_breaker in columns or not columns
        return None if stable or not session.duplicated(columns).any() else TIED

    def _id(self, session: pd.DataFrame) -> Any:
        return session[self._fitted.session_column].iloc[0]

    def _apart(self, sessions: Sequence[pd.DataFrame], rows: Sequence[int]) -> list[list[int]]:
        """The rows in as few groups as keep sessions of one id apart, which the Groupby would make one."""
        groups: list[list[int]] = []
        seen: Counter[Any] = Counter()
        for row in rows:
            session_id = self._id(sessions[row])
            if seen[session_id] == len(groups):
                groups.append([])
            groups[seen[session_id]].append(row)
            seen[session_id] += 1
        return groups

    def _transform(self, sessions: Sequence[pd.DataFrame], rows: list[int]) -> dict[int, Encoded]:
        """The features of sessions whose ids differ, by row. Raises what NVTabular does, or LookupError."""
        frame = pd.concat([sessions[row] for row in rows], ignore_index=True)
        if self._tie_breaker is not None:
            frame[self._tie_breaker] = np.arange(len(frame))
        table = self._fitted.transform(frame)
        found = self._rows(table, {self._id(sessions[row]): row for row in rows})
        return {
            row: {
                feature.name: np.asarray(table[feature.name].iloc[index], dtype=feature.dtype)
                for feature in self._features
            }
            for index, row in enumerate(found)
        }

    def _rows(self, table: pd.DataFrame, row_of: Mapping[Any, int]) -> list[int]:
        """The session that each row of the workflow's output is of."""
        if len(row_of) == 1 and len(table) <= 1:
            return list(row_of.values())[: len(table)]
        if self._fitted.session_column in table:
            return [row_of[session_id] for session_id in table[self._fitted.session_column]]
        if len(table) == len(row_of):
            return [row for _, row in sorted(row_of.items())]  # in the order of their ids, as the Groupby has it
        raise LookupError("a Filter dropped sessions and the output does not say which")


def eager_scores(model: Any, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Scores [B, V] of a model with `query` and `item_table`, or of one whose forward gives them."""
    if hasattr(model, "query"):
        return model.query(features) @ model.item_table().T
    return model(features)


def _raised(error: Exception) -> str:
    """What NVTabular raised, in one line; of merlin's wrapper what it wraps."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).strip().splitlines()
    return f"NVTabular raises {type(cause).__name__}{': ' + lines[0] if lines else ''}"
