"""When a served answer is the true one (README.md's contract, 5)."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pandas as pd

from serving_tests.support.raw_client import Answer

SCORE_TOLERANCE = 1e-4
TIE = 1e-5
LOWEST = np.finfo(np.float32).min


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Interactions that are equal to others where every value, type and place is."""

    written: str
    frame: pd.DataFrame = dataclasses.field(compare=False)
    sessions: int


@functools.lru_cache(maxsize=1024)
def _scores(reference, rows: _Rows):
    found = reference.scores(rows.frame, session_ids=range(rows.sessions))
    found.scores.flags.writeable = False
    return found


def judged(reference, batch: list[pd.DataFrame], session_column: str = "session_id"):
    """Offline scores of the batch's sessions, in order, the empty ones too.

    Every bundle and protocol is asked the same; NVTabular, which is slow, is asked once.
    """
    numbered = pd.concat(batch, ignore_index=True)
    numbered[session_column] = np.repeat(np.arange(len(batch)), list(map(len, batch)))
    written = repr([(name, str(values.dtype), values.tolist()) for name, values in numbered.items()])
    return _scores(reference, _Rows(written, numbered, len(batch)))


def assert_true(
    reference,
    batch: list[pd.DataFrame],
    answer: Answer,
    barred: np.ndarray | None = None,
    session_column: str = "session_id",
) -> None:
    """Fail unless every session is answered as offline prediction does. barred: bool [B, V], what filters keep back."""
    true = judged(reference, batch, session_column)
    assert answer.status == true.status
    assert_true_answer(reference.item_ids, true.scores, answer, barred)


def assert_true_answer(catalogue: np.ndarray, true: np.ndarray, answer: Answer, barred: np.ndarray | None) -> None:
    """The same but for the status. true: offline scores [B, V]."""
    assert len(answer.item_ids) == len(true)
    left = true if barred is None else np.where(barred, LOWEST, true)
    for row in range(len(true)):
        assert_true_ranking(catalogue, left[row], answer.item_ids[row], answer.scores[row])


def assert_true_ranking(catalogue: np.ndarray, true: np.ndarray, item_ids: np.ndarray, scores: np.ndarray) -> None:
    """Fail unless the answer for one session ranks the catalogue as the true scores do.

    catalogue: raw ids [V] by code. true: offline scores [V], the lowest float32 for what is no item. item_ids, scores:
    [K] as served. Items whose true scores differ by less than 1e-5 may stand in either order.
    """
    code_of = {item: code for code, item in enumerate(catalogue.tolist()) if true[code] > LOWEST}
    reach = min(len(code_of), len(item_ids))
    assert (scores[reach:] == LOWEST).all()
    assert all(item == catalogue[0] for item in item_ids[reach:])  # the type's null
    codes = [code_of[item] for item in item_ids[:reach].tolist()]
    assert len(set(codes)) == reach, "an item came twice"
    best = np.sort(true)[::-1][:reach]
    np.testing.assert_allclose(true[codes], best, rtol=0, atol=TIE, err_msg="another order than offline")
    np.testing.assert_allclose(scores[:reach], true[codes], rtol=0, atol=SCORE_TOLERANCE)
