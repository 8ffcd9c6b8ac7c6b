"""What the commands share: --json, --quiet, --version, exit codes in --help, logs, progress, shell completion.

A command makes its parser with `command_parser`, reads its arguments with `parse_arguments` and works inside `logs`. The
standard library is enough for all of it; completion needs argcomplete, which the extra `completion` of each package brings.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import logging
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from typing import Any

LOG_VARIABLE = "NEXTITEM_LOG"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
#: Each package's logger; a module's is below, by its own name.
PACKAGES = ("nextitem_bundle", "nextitem_training", "nextitem_export", "nextitem_server", "nextitem_client")

_DETAILED = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_COMPLETING = "_ARGCOMPLETE"  # a shell that asks for completions sets it


class _Version(argparse.Action):
    """Prints the version and leaves; the metadata is read when it is asked for, as that takes a while."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, const=const, default=argparse.SUPPRESS, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(f"{parser.prog} {importlib.metadata.version(str(self.const))}")
        parser.exit()


def command_parser(
    prog: str,
    *,
    distribution: str,
    description: str,
    exit_codes: Mapping[int, str] | Mapping[int | str, str],
    epilog: str = "",
    usage: str | None = None,
) -> argparse.ArgumentParser:
    """A parser with --version, whose --help ends with the epilog, the exit codes and the environment.

    distribution: the installed distribution whose version --version prints, "nextitem-training".
    exit_codes: what each code means, in the order in which they are listed.
    """
    width = max(len(str(code)) for code in exit_codes)
    listed = "\n".join(f"  {code!s:>{width}}  {meaning}" for code, meaning in exit_codes.items())
    environment = f"environment:\n  {LOG_VARIABLE}={'|'.join(LEVELS)}  what nextitem's packages log on standard error"
    chapters = [epilog.strip("\n"), f"exit codes:\n{listed}", environment]
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=usage,
        description=description,
        epilog="\n\n".join(filter(None, chapters)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, const=distribution, help="print the version and exit")
    return parser


def add_output_options(parser: argparse.ArgumentParser, *, json_help: str, quiet_help: str) -> None:
    """--json and --quiet, which all commands have."""
    parser.add_argument("--json", action="store_true", help=json_help)
    parser.add_argument("--quiet", action="store_true", help=quiet_help)


def parse_arguments(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments (those of the process if not given); answers a shell that asks for completions and leaves.

    A wrong argument, or a wrong NEXTITEM_LOG, ends the process with a sentence and exit code 2.
    """
    if _COMPLETING in os.environ:
        _complete(parser)
    parsed = parser.parse_args(arguments)
    given = os.environ.get(LOG_VARIABLE, "")
    if given and given.lower() not in LEVELS:
        parser.error(f"{LOG_VARIABLE} is '{given}', expected one of {', '.join(LEVELS)}")
    return parsed


def _complete(parser: argparse.ArgumentParser) -> None:
    try:
        argcomplete: Any = importlib.import_module("argcomplete")
    except ImportError:
        sys.exit(1)  # no completions: the shell must not run the command in order to get them
    argcomplete.autocomplete(parser)


@contextlib.contextmanager
def logs(*, quiet: bool, usual: int = logging.WARNING) -> Generator[None, None, None]:
    """Shows on standard error what nextitem's packages log while the block runs.

    usual: the least level that is shown, of other libraries too; `quiet` shows warnings and errors alone. NEXTITEM_LOG names
    another level for nextitem's packages.
    """
    least = max(usual, logging.WARNING) if quiet else usual
    level = LEVELS.get(os.environ.get(LOG_VARIABLE, "").lower(), least)
    logging.basicConfig(level=least, format=_DETAILED if level == logging.DEBUG else "%(message)s")
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before):
            logger.setLevel(old)


def hides_progress(package: str) -> bool:
    """Whether the package's progress lines are to be left out: its logger shows less than INFO, as with --quiet.

    Whoever has not set a level sees progress. A progress line is shown on a terminal only, whatever this says.
    """
    return logging.getLogger(package).level > logging.INFO


def print_json(document: Any) -> None:
    """One JSON document on standard output; paths become text, other types are refused with TypeError."""
    print(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))  # pyright: ignore[reportUnknownArgumentType]
    raise TypeError(f"{type(value).__name__} has no form in JSON; give text, numbers, lists and objects")
