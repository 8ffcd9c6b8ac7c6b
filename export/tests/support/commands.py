"""A command that runs in the test's own process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command printed and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def called(main: Callable[[Sequence[str]], int], arguments: Sequence[Any], capsys) -> Done:
    """What a command's main does with these arguments."""
    try:
        code = main([*map(str, arguments)])
    except SystemExit as left:
        code = left.code
    return Done(code, *capsys.readouterr())
