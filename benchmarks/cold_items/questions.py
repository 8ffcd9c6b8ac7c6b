"""Which item comes next in a session: the questions, how a bundle and plain scores answer them, and what that comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cold_items.shops import ITEM, SESSION, Shop
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.signature import Signature
from nextitem_bundle.versions import active_version
from nextitem_export.wire import request_tensors

K = 20


@dataclasses.dataclass(frozen=True)
class Questions:
    """inputs: the clicks before, a frame each. targets: the ids that come next. cold: whether that is a hidden item, bool."""

    inputs: list[pd.DataFrame]
    targets: np.ndarray
    cold: np.ndarray


def questions_of(shop: Shop, hidden: set[str], most: int, window: int = 20) -> Questions:
    """Each click of the sessions that ask but their first, given those before it; a sample of so many, always the same."""
    rows = shop.asked()
    session = rows[SESSION].to_numpy()
    first = np.concatenate([[True], session[1:] != session[:-1]])
    begins = np.flatnonzero(first)[np.cumsum(first) - 1]
    known = rows[ITEM].isin(shop.items[ITEM]).to_numpy()
    asked = np.flatnonzero(~first & known)
    if len(asked) > most:
        asked = np.sort(np.random.default_rng(0).choice(asked, most, replace=False))
    inputs = [rows.iloc[max(begins[place], place - window) : place] for place in asked]
    targets = rows[ITEM].to_numpy()[asked]
    return Questions(inputs, targets, np.isin(targets, [*hidden]))


def bundle_ranks(repository: Path, name: str, questions: Questions) -> np.ndarray:
    """The rank of each answer among the first K of the version that answers, from 1; infinite where it is not there."""
    version = active_version(repository, name)
    assert version is not None
    signature = Signature.from_json(read_manifest(repository, name, version).request)
    step = open_step(repository / name / str(version))
    ranks: list[np.ndarray] = []
    at_once = signature.max_sessions_per_request
    for start in range(0, len(questions.inputs), at_once):
        batch = questions.inputs[start : start + at_once]
        top_k = np.full((len(batch), 1), K, dtype=np.int32)
        answer = step.run({**request_tensors(batch, signature.features), "top_k": top_k})
        ranks.append(ranks_of(answer["item_ids"], questions.targets[start : start + at_once]))
    return np.concatenate(ranks)


def ranks_of(items: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """items: [B, K], best first."""
    found = items == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, np.inf)


def score_ranks(ids: np.ndarray, scorer: Callable[[pd.DataFrame], np.ndarray], questions: Questions) -> np.ndarray:
    """The same by scores of all items [V], the raw ids."""
    best = np.array([ids[np.argsort(-scorer(one), kind="stable")[:K]] for one in questions.inputs])
    return ranks_of(best, questions.targets)


def figures_of(ranks: np.ndarray, questions: Questions) -> dict[str, float]:
    """recall@20 and NDCG@20 on the questions whose answer is hidden, on all others, and on all."""
    found: dict[str, float] = {}
    for which, chosen in (("cold", questions.cold), ("warm", ~questions.cold), ("all", np.ones(len(ranks), bool))):
        some = ranks[chosen]
        hit = some <= K
        found[f"{which}_recall20"] = float(hit.mean()) if len(some) else 0.0
        found[f"{which}_ndcg20"] = float(np.where(hit, 1 / np.log2(1 + some), 0.0).mean()) if len(some) else 0.0
    return found
