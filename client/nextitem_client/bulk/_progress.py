"""The one module that knows tqdm."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from typing import Any

from nextitem_client._exceptions import MissingPackage


class _Silent:
    def update(self, sessions: int) -> None:
        """Nothing to show."""


def progress_bar(total: int, done: int, *, shown: bool) -> Any:
    """A context manager whose value has update(sessions); drawn where standard error is a terminal.

    Raises MissingPackage.
    """
    if not shown:
        return nullcontext(_Silent())
    try:
        tqdm: Any = importlib.import_module("tqdm")
    except ImportError as error:
        raise MissingPackage(
            f"The progress bar needs tqdm, which cannot be imported ({error}). Install it with: "
            "pip install 'nextitem-client[bulk]', or go without: progress=False (--no-progress)"
        ) from error
    return tqdm.tqdm(total=total, initial=done, unit=" sessions", disable=None, dynamic_ncols=True)
