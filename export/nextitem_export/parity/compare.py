"""When two answers are the same (integers equal, floats close, rankings equal up to ties)."""

from __future__ import annotations

import numpy as np

from nextitem_bundle.runtime.special_ids import PADDING
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .._errors import ParityError

FEATURE_RELATIVE = 1e-5
FEATURE_ABSOLUTE = 1e-6
SCORE_ABSOLUTE = 1e-4
#: A head may be in any unit: beyond 10, what float32 itself loses is more than the absolute bound.
HEAD_ABSOLUTE = SCORE_ABSOLUTE
HEAD_RELATIVE = 1e-5
#: Items whose true scores differ by less may stand in either order.
TIE = 1e-5


class RankingError(ParityError):
    """The retrieval step answers otherwise than the model does: its graph is another one in another format."""


def feature_difference(true: np.ndarray, served: np.ndarray) -> tuple[float, str | None]:
    """The largest relative difference of one session's feature and, where it is too large, a sentence.

    true: [length] of the newest interactions. served: [window], padded with 0.
    """
    padded = np.zeros_like(served)
    padded[: len(true)] = true
    if np.issubdtype(served.dtype, np.integer):
        same = padded == served
        worst = 0.0 if same.all() else 1.0
    else:
        with np.errstate(invalid="ignore"):
            distance = np.abs(padded.astype(np.float64) - served)
            bound = FEATURE_ABSOLUTE + FEATURE_RELATIVE * np.abs(padded)
        same = (distance <= bound) | (np.isnan(padded) & np.isnan(served))
        scale = np.maximum(np.abs(padded), 1.0)
        worst = float(np.nan_to_num(distance / scale).max(initial=0.0))
    if same.all():
        return worst, None
    at = int(np.flatnonzero(~same)[0])
    return worst, f"at interaction {at} NVTabular gives {padded[at]!r}, the bundle {served[at]!r}"


def head_difference(true: np.ndarray, served: np.ndarray) -> tuple[float, str | None]:
    """The largest difference of one session's head, relative where it is beyond 1, and a sentence where it is too large.

    true, served: [N], the lowest FP32 for null.
    """
    if true.shape != served.shape:
        return np.inf, f"{list(served.shape)} values came, expected {list(true.shape)}"
    null = true == np.float32(LOWEST_FLOAT32)
    distance = np.where(null, 0.0, np.abs(true.astype(np.float64) - served))
    worst = float((distance / np.maximum(np.abs(true), 1.0)).max(initial=0.0))
    same = np.where(null, served == true, distance <= HEAD_ABSOLUTE + HEAD_RELATIVE * np.abs(true))
    if same.all():
        return worst, None
    at = int(np.flatnonzero(~same)[0])
    return worst, f"value {at} is {served[at]:.8g}, expected {true[at]:.8g}"


def approximate_difference(true: np.ndarray, codes: np.ndarray, scores: np.ndarray) -> tuple[float, str | None]:
    """The same for a scoring that may miss items, whose recall was measured when it was written.

    What it gives must be as many items as there are, each once, by falling true scores.
    """
    reach = min(int((true > LOWEST_FLOAT32).sum()), len(codes))
    given = codes[:reach]
    valid = int((true[given] > LOWEST_FLOAT32).sum())
    if valid < reach:
        return np.inf, f"{valid} items came, expected {reach}"
    if len(set(given.tolist())) < reach:
        return np.inf, "an item came twice"
    listed = np.full_like(true, LOWEST_FLOAT32)
    listed[given] = true[given]
    return ranking_difference(listed, codes, scores)


def ranking_difference(true: np.ndarray, codes: np.ndarray, scores: np.ndarray) -> tuple[float, str | None]:
    """The largest difference of one session's scores and, where the ranking is not the true one, a sentence.

    true: scores [V], the lowest FP32 for what is never recommended. codes, scores: [K] as served.
    """
    items = int((true > LOWEST_FLOAT32).sum())
    reach = min(items, len(codes))
    if (codes[reach:] != PADDING).any() or (codes[:reach] == PADDING).any():
        return np.inf, f"{int((codes != PADDING).sum())} items came, expected {reach}"
    if (scores[reach:] != np.float32(LOWEST_FLOAT32)).any():
        return np.inf, f"beyond the {reach} items the scores are {scores[reach:]}, expected {LOWEST_FLOAT32:.8g}"
    codes, scores = codes[:reach], scores[:reach]
    if len(set(codes.tolist())) != reach:
        return np.inf, "an item came twice"
    best = np.sort(true)[::-1][:reach]
    off_rank = np.abs(true[codes] - best)
    off_score = np.abs(scores - true[codes])
    worst = float(off_score.max(initial=0.0))
    if (off_rank > TIE).any() or not np.isfinite(off_rank).all():
        at = int(np.flatnonzero(~(off_rank <= TIE))[0])
        right = int(np.argsort(-true, kind="stable")[at])
        return worst, (
            f"at rank {at} code {codes[at]} came (true score {true[codes[at]]:.7g}), expected code {right} "
            f"({true[right]:.7g})"
        )
    if not worst <= SCORE_ABSOLUTE:
        at = int(np.argmax(off_score))
        return worst, f"at rank {at} the score is {scores[at]:.7g}, expected {true[codes[at]]:.7g}"
    return worst, None
