"""The tensors of a response → recommendations."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import numpy.typing as npt

from nextitem_bundle.signature import Head
from nextitem_bundle.wire import LOWEST_FLOAT32, NULL_INT64
from nextitem_client._exceptions import MissingPackage, UnexpectedResponse
from nextitem_client._wire import Tensors
from nextitem_client._wire.values import NULL_BYTES

#: What every model answers; those with further heads answer each of them as well.
OUTPUTS = ("item_ids", "scores", "status")


@dataclass(frozen=True)
class Recommendation:
    """The answer to one session, best item first.

    Attributes:
        item_ids: raw ids, `k` of them, or fewer where fewer items exist.
        scores: one for each item, falling.
        status: "ok"; "cold" if no item of the session is known, "empty" if the session has no event. For these two the
            answer is the most popular items.
        model: the model that answered.
        model_version: the version of it.
        request_id: what the server's log calls the request. It plays no part where two answers are compared.
        heads: the values of each further head of the model (`signature.heads`); all of them None where the session is
            cold or empty.
    """

    item_ids: list[Union[str, int]]
    scores: list[float]
    status: str
    model: str
    model_version: str
    request_id: str = field(default="", compare=False)
    heads: dict[str, list[Optional[float]]] = field(default_factory=dict[str, "list[Optional[float]]"])


class Recommendations(list[Recommendation]):
    """The answers to several sessions, in their order: a list that pandas can turn into a table."""

    def to_pandas(self) -> Any:
        """A table with a row for each recommended item.

        Returns:
            A pandas.DataFrame with the columns session (the position among the sessions of the call), rank (from 1),
            item_id, score, status, and the heads: `head_<name>`, or `head_<name>.0` and so on for a head with several
            values. A session without a recommended item has no row.

        Raises:
            MissingPackage: pandas is not installed.
        """
        try:
            library: Any = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingPackage(
                f"to_pandas() needs pandas, which cannot be imported ({error}). Install it with: pip install pandas"
            ) from error
        heads = head_columns(Head(name, len(values)) for one in self[:1] for name, values in one.heads.items())
        names = ("session", "rank", "item_id", "score", "status", *heads)
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for session, answer in enumerate(self):
            count = len(answer.item_ids)
            columns["session"] += [session] * count
            columns["rank"] += range(1, count + 1)
            columns["item_id"] += answer.item_ids
            columns["score"] += answer.scores
            columns["status"] += [answer.status] * count
            for name, value in zip(heads, head_values(answer)):
                columns[name] += [value] * count
        return library.DataFrame(columns)


def head_columns(heads: Iterable[Head]) -> list[str]:
    """The columns of a table with the heads' values, in the order of `head_values`."""
    return [f"head_{head.name}{f'.{place}' if head.width > 1 else ''}" for head in heads for place in range(head.width)]


def head_values(answer: Recommendation) -> list[Optional[float]]:
    """The values of all heads."""
    return [value for values in answer.heads.values() for value in values]


def read_response(
    tensors: Tensors,
    sessions: int,
    model: str,
    model_version: str,
    request_id: str = "",
    heads: Sequence[str] = (),
) -> list[Recommendation]:
    """One Recommendation per row, without the fill-up of rows that have fewer than k items.

    item_ids BYTES or INT64 [B, K], scores FP32 [B, K], status BYTES [B, 1], each of `heads` FP32 [B, N], B = `sessions`.
    Raises UnexpectedResponse.
    """
    expected = (*OUTPUTS, *heads)
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise UnexpectedResponse(
            f"Model {model} answered without {', '.join(missing)}; expected are "
            f"{', '.join(expected)}. Was it exported by nextitem-export?"
        )
    ids, scores, status = (tensors[name] for name in OUTPUTS)
    if ids.ndim != 2 or ids.shape[0] != sessions or scores.shape != ids.shape or status.shape != (sessions, 1):
        raise UnexpectedResponse(
            f"Model {model} answered {sessions} sessions with item_ids {ids.shape}, scores "
            f"{scores.shape} and status {status.shape}; expected are ({sessions}, K), "
            f"({sessions}, K) and ({sessions}, 1)."
        )
    given = {name: _head(tensors[name], sessions, name, model) for name in heads}
    return [
        Recommendation(
            *_items(ids[row], scores[row]),
            status=_text(status[row, 0]),
            model=model,
            model_version=model_version,
            request_id=request_id,
            heads={name: values[row] for name, values in given.items()},
        )
        for row in range(sessions)
    ]


def _items(ids: npt.NDArray[Any], scores: npt.NDArray[Any]) -> tuple[list[Union[str, int]], list[float]]:
    """The items of one row and their scores."""
    raw: list[Any] = ids.tolist()
    found: list[float] = scores.tolist()
    if NULL_BYTES in raw or NULL_INT64 in raw:
        kept = [column for column, value in enumerate(raw) if value not in (NULL_BYTES, NULL_INT64)]
        raw, found = [raw[column] for column in kept], [found[column] for column in kept]
    return [_item_id(value) for value in raw], found


def _head(values: npt.NDArray[Any], sessions: int, name: str, model: str) -> list[list[Optional[float]]]:
    """The values of a head for each session."""
    if values.ndim != 2 or values.shape[0] != sessions:
        raise UnexpectedResponse(
            f"Model {model} answered {sessions} sessions with {name} {values.shape}; expected is ({sessions}, N), as it is "
            "one of the model's heads."
        )
    rows: list[list[float]] = values.tolist()
    return [[None if value == LOWEST_FLOAT32 else value for value in row] for row in rows]


def _item_id(value: Any) -> str | int:
    return int(value) if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
