"""What is right: the eager model and NVTabular itself, over the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.load.requests import Answer, Protocol, Session
from benchmarks.load.trial import Trial
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory

#: Items whose offline scores differ by less may swap; answered scores are right within the other. README.md's contract.
TIE, CLOSE = 1e-5, 1e-4


class WrongAnswerError(RuntimeError):
    """A server recommends something else than the model; its figures would say nothing."""


class Reference:
    """The scores of all items for the sessions that are asked."""

    def __init__(self, run: Path, sessions: Sequence[Session]) -> None:
        reference = OfflinePredictor(RunDirectory.open(run))
        rows = pd.concat([pd.DataFrame(session).assign(session_id=n) for n, session in enumerate(sessions)])
        rows["timestamp"] = pd.to_datetime(rows["timestamp"])
        rows["price"] = rows["price"].astype(np.float32)
        self._scores = reference.scores(rows.reset_index(drop=True), range(len(sessions))).scores  # (B, V)
        self._codes = {item: code for code, item in enumerate(reference.item_ids.tolist())}

    def check(self, server: str, number: int, answer: Answer, k: int) -> None:
        """Raise WrongAnswerError unless this is the ranking of session `number`."""
        offline = self._scores[number]
        codes = [self._codes.get(item) for item in answer.item_ids]
        if answer.status != "ok" or len(set(codes)) != k or None in codes:
            raise WrongAnswerError(f"{server} answers session {number} with {answer}, expected {k} known items")
        given, best = offline[codes], np.sort(offline)[::-1][:k]
        if np.abs(given - best).max() > TIE or np.abs(given - np.array(answer.scores)).max() > CLOSE:
            raise WrongAnswerError(
                f"{server} ranks session {number} otherwise than the model: {answer.item_ids} with {answer.scores}; "
                f"offline these have {given.tolist()}, the best have {best.tolist()}"
            )

    def check_kept(self, server: str, trial: Trial, protocol: Protocol, k: int) -> None:
        """The same for the answers that the generator kept of a trial."""
        for number, body in trial.kept.items():
            if trial.status[number] == 200:
                self.check(server, int(trial.which[number]), protocol.read(body), k)
