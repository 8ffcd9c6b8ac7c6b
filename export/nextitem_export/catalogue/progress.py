"""One line on a terminal that says what a command is at. Here, since what updates a catalogue loads nothing of an export."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator


@contextlib.contextmanager
def progress_line(first: str, to: logging.Logger, *, quiet: bool) -> Generator[Callable[[str], None], None, None]:
    """One line with the stage and the time so far, on a terminal; what it yields shows the next stage and logs it."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as line:
        task = line.add_task(first)

        def show(stage: str) -> None:
            to.info(stage)
            line.update(task, description=stage)

        yield show
