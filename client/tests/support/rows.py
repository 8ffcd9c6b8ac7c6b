"""Files of interactions for bulk runs against a server that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def last_items(request: Any) -> list[str]:
    """The session's own items, newest first."""
    return request.session["item_id"][::-1]


def rows_of(sessions: int) -> list[dict[str, Any]]:
    """Two interactions for each session."""
    return [{"session_id": n, "item_id": f"{n}-{event}"} for n in range(sessions) for event in range(2)]


def write_lines(path: Path, rows: list[Any]) -> Path:
    """JSON lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[Any]:
    """What stands in them."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
