"""nextitem-recommend --sessions: recommendations for a file of sessions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nextitem_client._client import Client
from nextitem_client._exceptions import InvalidOption
from nextitem_client.bulk import DEFAULT_CONCURRENCY, DEFAULT_SESSION_COLUMN, BulkReport, recommend_file

EXIT_SOME_FAILED = 1


def add_bulk_arguments(parser: argparse.ArgumentParser) -> None:
    """What belongs to --sessions."""
    group = parser.add_argument_group("whole files", "Parquet, CSV or JSON lines, by the end of the name")
    add = group.add_argument
    add("--sessions", type=Path, metavar="FILE", help="interactions, one row each")
    add("--output", type=Path, metavar="FILE", help="recommendations, one row each")
    add("--session-column", default=DEFAULT_SESSION_COLUMN, metavar="NAME", help="default %(default)s")
    add(
        "--concurrency",
        type=int,
        default=DEFAULT_CONCURRENCY,
        metavar="N",
        help="requests at a time, default %(default)s",
    )
    add("--resume", action="store_true", help="continue a run that was interrupted")
    add("--overwrite", action="store_true", help="replace the output")
    add("--no-progress", action="store_true", help="draw no progress bar")


def check_bulk_arguments(arguments: argparse.Namespace) -> bool:
    """Whether a whole file is asked for. Raises InvalidOption where only part of it is said."""
    if arguments.sessions is None and arguments.output is None:
        for name in ("resume", "overwrite", "no_progress"):
            if getattr(arguments, name):
                raise InvalidOption(f"--{name.replace('_', '-')} is for whole files and needs --sessions and --output.")
        return False
    if arguments.sessions is None or arguments.output is None:
        missing = "--output" if arguments.output is None else "--sessions"
        raise InvalidOption(f"{missing} is missing: --sessions FILE and --output FILE belong together.")
    if arguments.json or arguments.session != "-":
        raise InvalidOption("--session and --json are for single sessions and do not go with --sessions.")
    return True


def recommend_to_file(
    client: Client, arguments: argparse.Namespace, exclude: list[Any] | None, allow: list[Any] | None
) -> int:
    """Do as the arguments say; return the exit code."""
    report = recommend_file(
        arguments.sessions,
        arguments.output,
        client,
        session_column=arguments.session_column,
        k=arguments.k,
        exclude=exclude,
        allow=allow,
        exclude_seen=arguments.exclude_seen,
        concurrency=arguments.concurrency,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        progress=not arguments.no_progress,
    )
    print(_summary(report))
    return EXIT_SOME_FAILED if report.failed else 0


def how_to_continue(arguments: argparse.Namespace) -> str:
    """What to say after Ctrl-C."""
    if arguments.sessions is None:
        return "interrupted."
    return f"interrupted; the same command with --resume{' for --overwrite' if arguments.overwrite else ''} continues."


def _summary(report: BulkReport) -> str:
    failed = f"; {report.failed} failed, see {report.failures}" if report.failed else ""
    if report.sessions is None:
        return f"{report.output} is complete already{failed}"
    resumed = f", {report.resumed} of them by an earlier run" if report.resumed else ""
    return f"{report.output}: {report.sessions - report.failed} sessions answered{resumed}{failed}"
