"""The sessions that the gate asks: the run's sample as it is, and perturbed in every way that a caller may send.

Some are asked with random filters. What filters bar is worked out id by id, without the runtime's code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.signature import Feature
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

Sessions = list[pd.DataFrame]

#: Sessions of each perturbed case, and of the slow ones that ask for each session alone.
SESSIONS = 96
ALONE = 24
#: Interactions of padding behind the longest session where there is garbage in the padding.
PADDED = 3
#: Ids in one list at most.
LISTED = 40


@dataclasses.dataclass(frozen=True)
class Case:
    """Sessions that are asked `batch_size` at a time.

    garbage: the longest session is padded as well, and padding holds valid-looking values. filtered: with random filters.
    own: the sample as it is, of which NVTabular must be able to judge something.
    """

    name: str
    sessions: Sessions
    batch_size: int
    garbage: bool = False
    filtered: bool = False
    own: bool = False


def make_cases(
    sessions: Sessions,
    features: Sequence[Feature],
    *,
    time_columns: Sequence[str],
    window: int,
    max_sessions: int,
    max_interactions: int,
    seed: int = 0,
) -> list[Case]:
    """The cases of one export, always the same for the same sample; sessions of `max_interactions` at most.

    A perturbed session keeps what is no feature, the id of the session that it was made from.
    """
    random = np.random.default_rng(seed)
    some = [sessions[i % len(sessions)] for i in range(min(SESSIONS, len(sessions)))]

    def perturbed(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Sessions:
        return [change(session.copy()) for session in some]

    def of_length(length: int) -> Sessions:
        rows = (_of_length(sessions, length, random) for _ in some)
        return [made.assign(**_ids(session, features)) for made, session in zip(rows, some, strict=True)]

    strings = [f.name for f in features if f.kind == "string"]
    integers = [f.name for f in features if f.kind == "integer"]
    nullable = [f.name for f in features if f.kind in ("string", "float")]
    empty = some[0].iloc[:0]
    beyond = min(window + 5, max_interactions)
    padded = [session.iloc[-max(1, max_interactions - PADDED) :] for session in some]
    return [
        Case("the sample", sessions, max_sessions, own=True),
        Case("one session alone", sessions[:ALONE], 1),
        Case("three at a time", some, min(3, max_sessions)),
        Case("garbage in padding", padded, max_sessions, garbage=True),
        Case("length 1", of_length(1), max_sessions),
        Case(f"length {window}, the window", of_length(window), max_sessions),
        Case(f"length {beyond}, beyond the window", of_length(beyond), max_sessions),
        Case("unknown values", perturbed(lambda s: _unknown(s, strings, integers, random)), max_sessions),
        Case("nothing known", perturbed(lambda s: _unknown(s, strings, integers, None)), max_sessions),
        Case("nulls", perturbed(lambda s: _nulls(s, nullable, random)), max_sessions),
        Case("filters", [*some, empty], max_sessions, filtered=True),
        Case("ties in time", perturbed(lambda s: _ties(s, time_columns)), max_sessions),
        Case(
            "unordered in time",
            perturbed(lambda s: s.sample(frac=1, random_state=random.integers(2**31))),
            max_sessions,
        ),
        Case(
            "empty ones between", [s for pair in zip(some[:32], [empty] * 32, strict=False) for s in pair], max_sessions
        ),
    ]


def _ids(session: pd.DataFrame, features: Sequence[Feature]) -> dict[str, Any]:
    """The value of each column that is no feature."""
    return {name: session[name].iloc[0] for name in session if name not in {feature.name for feature in features}}


def _of_length(sessions: Sessions, length: int, random: np.random.Generator) -> pd.DataFrame:
    rows: list[pd.DataFrame] = []
    while sum(map(len, rows)) < length:
        rows.append(sessions[random.integers(len(sessions))])
    return pd.concat(rows, ignore_index=True).iloc[-length:]


def _unknown(
    session: pd.DataFrame,
    strings: Sequence[str],
    integers: Sequence[str],
    random: np.random.Generator | None,
) -> pd.DataFrame:
    """Values that training cannot have seen, in half of the rows or, without `random`, in all."""
    rows = np.full(len(session), True) if random is None else random.random(len(session)) < 0.5
    for name in strings:
        session.loc[rows, name] = "never seen ☃"
    for name in integers:
        session[name] = session[name].mask(rows, _largest(session[name].dtype) - 7)
    return session


def _largest(dtype: object) -> int:
    """Of a column of integers, which among nulls are Int64 or, where the sample's owner has them so, floats."""
    if isinstance(dtype, np.dtype) and dtype.kind in "iu":
        return int(np.iinfo(dtype).max)
    return 2**53 if isinstance(dtype, np.dtype) and dtype.kind == "f" else int(np.iinfo(np.int64).max)


def _nulls(session: pd.DataFrame, names: Sequence[str], random: np.random.Generator) -> pd.DataFrame:
    for name in names:
        session[name] = session[name].mask(random.random(len(session)) < 0.3)
    return session


def _ties(session: pd.DataFrame, time_columns: Sequence[str]) -> pd.DataFrame:
    for name in time_columns:
        session[name] = session[name].iloc[0]
    return session


@dataclasses.dataclass(frozen=True)
class Filters:
    """tensors: the optional tensors of the request. barred: bool [B, V], what must not come back."""

    tensors: dict[str, np.ndarray]
    barred: np.ndarray


def draw_filters(
    sessions: Sequence[pd.DataFrame], item_column: str, catalogue: np.ndarray, random: np.random.Generator
) -> Filters:
    """Lists of known ids, unknown ones and nulls for each session; some sessions have none.

    catalogue: raw ids [V - 3] by code from 3, int64 or object array of str.
    """
    excluded = [_some_ids(catalogue, random) for _ in sessions]
    allowed = [_some_ids(catalogue, random) if random.random() < 0.5 else [] for _ in sessions]
    seen = random.random(len(sessions)) < 0.5
    barred = np.zeros((len(sessions), FIRST_ITEM + len(catalogue)), dtype=bool)
    code_of = {item: code for code, item in enumerate(catalogue.tolist(), FIRST_ITEM)}
    null = NULL_STRING if catalogue.dtype == object else NULL_INT64
    for row, session in enumerate(sessions):
        rule = [item for item in allowed[row] if item != null]
        if rule:
            barred[row] = True
            barred[row, [code_of[item] for item in rule if item in code_of]] = False
        out = [*excluded[row], *(session[item_column].dropna().tolist() if seen[row] else [])]
        barred[row, [code_of[item] for item in out if item in code_of]] = True
    tensors = {
        "exclude_item_ids": _tensor(excluded, null, catalogue.dtype),
        "allow_item_ids": _tensor(allowed, null, catalogue.dtype),
        "exclude_seen": seen[:, None],
    }
    return Filters(tensors, barred)


def _some_ids(catalogue: np.ndarray, random: np.random.Generator) -> list[Any]:
    strings = catalogue.dtype == object
    unknown = ["not in the catalogue ☃"] if strings else [int(np.iinfo(np.int64).max) - 11]
    null = [NULL_STRING if strings else NULL_INT64]
    known = random.choice(catalogue, random.integers(0, LISTED)).tolist() if len(catalogue) else []
    return random.permutation(np.array([*known, *unknown, *null], dtype=catalogue.dtype)).tolist()


def _tensor(lists: list[list[Any]], null: Any, dtype: Any) -> np.ndarray:
    width = max(1, *(len(ids) for ids in lists), 0)
    rows = np.full((len(lists), width), null, dtype=dtype)
    for row, ids in enumerate(lists):
        rows[row, : len(ids)] = ids
    if rows.dtype == object:
        return np.array([[item.encode() for item in row] for row in rows], dtype=object).reshape(rows.shape)
    return rows
