"""The code of a page of docs/migrating/, run in a folder with the demo's clicks, and what its bundle answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextitem_client import Client, OfflineClient

ROOT = Path(__file__).parents[2]
#: Items of an answer, and sessions that are asked.
TOP, SESSIONS = 20, 40
#: Of scores that may change places, and of all others.
TIE, CLOSE = 1e-5, 1e-4


def blocks(name: str) -> list[str]:
    """The Python of a page, block by block."""
    page = (ROOT / "docs" / "migrating" / f"{name}.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def lines(block: str) -> int:
    """How many lines of code a block has."""
    return sum(bool(line.strip()) for line in block.splitlines())


def run(code: list[str], folder: Path) -> dict[str, Any]:
    """What these blocks define, one after the other, in this folder, where the process stays."""
    (folder / "demo").symlink_to(ROOT / "demo")
    names: dict[str, Any] = {"__name__": "page"}
    for block in code:
        exec(compile(block, "<page>", "exec"), names)
    return names


def sessions(clicks: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Some sessions of several lengths, in order of time."""
    longest = clicks.groupby("session_id").size().sort_values(kind="stable")
    chosen = longest.index[np.linspace(0, len(longest) - 1, SESSIONS).astype(int)]
    for session_id in chosen:
        yield clicks[clicks.session_id == session_id].sort_values("timestamp", kind="stable")


def agreeing(
    folder: Path, name: str, clicks: pd.DataFrame, own: Mapping[Any, Mapping[str, float]]
) -> tuple[int, list[str]]:
    """In how many sessions the bundle answers as the library does, and what is wrong in the others.

    own: by session id, the scores of all items by raw id.
    """
    with OfflineClient(folder / "model_repository" / name) as client:
        return answered(client, clicks, own)


def answered(client: Client, clicks: pd.DataFrame, own: Mapping[Any, Mapping[str, float]]) -> tuple[int, list[str]]:
    """The same for a bundle that this client asks."""
    right, faults = 0, []
    needed = [feature.name for feature in client.signature.features]
    for session in sessions(clicks):
        session_id = session.session_id.iloc[0]
        answer = client.recommend({column: session[column].tolist() for column in needed}, k=TOP)
        fault = _fault(answer.item_ids, answer.scores, own[session_id])
        right += fault is None
        faults += [f"session {session_id}: {fault}"] * (fault is not None)
    return right, faults


def _fault(items: list[str], scores: list[float], own: Mapping[str, float]) -> str | None:
    best = sorted(own.values(), reverse=True)[:TOP]
    if len(items) != TOP or len(set(items)) != TOP:
        return f"the items are {items}"
    if not np.allclose(scores, best, rtol=0, atol=CLOSE):
        return f"the scores are {scores}, the library's {best}"
    due = np.array([own[item] for item in items])
    if (np.diff(due) > TIE).any():
        return f"the items {items} have the library's scores {due}"
    return None
