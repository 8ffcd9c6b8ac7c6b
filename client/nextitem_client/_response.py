"""The tensors of a response → recommendations."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import numpy.typing as npt

from nextitem_client._exceptions import MissingPackage, UnexpectedResponse
from nextitem_client._request import Tensors
from nextitem_client._values import NULL_BYTES, NULL_INT64

OUTPUTS = ("item_ids", "scores", "status")


@dataclass(frozen=True)
class Recommendation:
    """The answer to one session, best item first.

    `item_ids` and `scores` have the same length: k, or fewer where fewer items exist. `status` is
    "ok"; "cold" if no item of the session is known and "empty" if the session has no event: the
    answer is then the most popular items. `model_version` is the version that answered, `request_id`
    what the server's log calls the request (two answers may be equal in spite of it).
    """

    item_ids: list[Union[str, int]]
    scores: list[float]
    status: str
    model: str
    model_version: str
    request_id: str = field(default="", compare=False)


class Recommendations(list[Recommendation]):
    """The answers to several sessions, in their order: a list, and a table where pandas is there."""

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a row per recommended item: session, rank, item_id, score, status.

        `session` is the position among the sessions asked, `rank` begins at 1. A session without any
        recommended item has no row. Raises MissingPackage.
        """
        try:
            library: Any = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingPackage(
                f"to_pandas() needs pandas, which cannot be imported ({error}). Install it with: pip install pandas"
            ) from error
        columns: dict[str, list[Any]] = {name: [] for name in ("session", "rank", "item_id", "score", "status")}
        for session, answer in enumerate(self):
            count = len(answer.item_ids)
            columns["session"] += [session] * count
            columns["rank"] += range(1, count + 1)
            columns["item_id"] += answer.item_ids
            columns["score"] += answer.scores
            columns["status"] += [answer.status] * count
        return library.DataFrame(columns)


def read_response(
    tensors: Tensors, sessions: int, model: str, model_version: str, request_id: str = ""
) -> list[Recommendation]:
    """One Recommendation per row, without the fill-up of rows that have fewer than k items.

    item_ids BYTES or INT64 [B, K], scores FP32 [B, K], status BYTES [B, 1], B = `sessions`.
    Raises UnexpectedResponse.
    """
    missing = [name for name in OUTPUTS if name not in tensors]
    if missing:
        raise UnexpectedResponse(
            f"Model {model} answered without {', '.join(missing)}; expected are "
            f"{', '.join(OUTPUTS)}. Was it exported by nextitem-export?"
        )
    ids, scores, status = (tensors[name] for name in OUTPUTS)
    if ids.ndim != 2 or ids.shape[0] != sessions or scores.shape != ids.shape or status.shape != (sessions, 1):
        raise UnexpectedResponse(
            f"Model {model} answered {sessions} sessions with item_ids {ids.shape}, scores "
            f"{scores.shape} and status {status.shape}; expected are ({sessions}, K), "
            f"({sessions}, K) and ({sessions}, 1)."
        )
    return [
        _recommendation(ids[row], scores[row], status[row, 0], model, model_version, request_id)
        for row in range(sessions)
    ]


def _recommendation(
    ids: npt.NDArray[Any], scores: npt.NDArray[Any], status: Any, model: str, model_version: str, request_id: str
) -> Recommendation:
    raw: Sequence[Any] = ids.tolist()
    kept = [column for column, value in enumerate(raw) if value not in (NULL_BYTES, NULL_INT64)]
    return Recommendation(
        item_ids=[_item_id(raw[column]) for column in kept],
        scores=[float(scores[column]) for column in kept],
        status=_text(status),
        model=model,
        model_version=model_version,
        request_id=request_id,
    )


def _item_id(value: Any) -> str | int:
    return int(value) if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
