# PYTHON_ARGCOMPLETE_OK
"""`nextitem-catalogue`: shows and updates the catalogue of a bundle, without training and without a new export."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nextitem_bundle import commands

from ..options import KEEP_VERSIONS
from .progress import progress_line

if TYPE_CHECKING:
    from ..activation import Activation
    from .update import CatalogueUpdate

logger = logging.getLogger(__name__)

_EXAMPLE = """\
example:
  nextitem-catalogue show --repository model_repository --name shop
  nextitem-catalogue update items.parquet --repository model_repository --name shop --dry-run
  nextitem-catalogue update items.parquet --repository model_repository --name shop \\
      --activate --url http://127.0.0.1:8000 --control-key-file control.key
  nextitem-catalogue availability --repository model_repository --name shop --unavailable A13 B4 \\
      --url http://127.0.0.1:8000 --control-key-file control.key
"""
_EXIT_CODES = {
    0: "done, or nothing had to be done",
    2: "a wrong call, items that do not fit, or a version that could not be proved or activated; a sentence says which",
    130: "interrupted; the repository is as it was",
}


@dataclasses.dataclass(frozen=True)
class _Server:
    """The running server, None where none is named, and the file of its control key."""

    url: str | None
    control_key_file: str | None

    def key(self) -> str | None:
        """Raises ControlError where the file cannot be read."""
        from ..control import read_key

        return None if self.control_key_file is None else read_key(self.control_key_file)


@dataclasses.dataclass(frozen=True)
class _Output:
    """json: the result as JSON; quiet: without progress."""

    json: bool
    quiet: bool


def _parser() -> argparse.ArgumentParser:
    parser = commands.command_parser(
        "nextitem-catalogue",
        distribution="nextitem-export",
        description="Show and update the catalogue of a bundle: which items there are, and what is known of them.",
        epilog=_EXAMPLE,
        exit_codes=_EXIT_CODES,
    )
    chosen = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--repository", metavar="DIR", required=True, help="the model repository that holds the bundle")
    shared.add_argument("--name", required=True, help="the model that clients call")
    commands.add_output_options(
        shared,
        json_help="print the result as JSON instead of tables and sentences",
        quiet_help="show no progress, only the result, warnings and errors",
    )
    made = []
    for name, text, add_options in (
        ("show", "size, age and attributes of the catalogue, and what is unavailable", _add_show),
        ("update", "take a table of items, and write, prove and perhaps activate the next version", _add_update),
        (
            "availability",
            "items that are recommended to nobody; without options, what the list says",
            _add_availability,
        ),
    ):
        made.append(chosen.add_parser(name, parents=[shared], help=text, description=text))
        add_options(made[-1])
    usages = "\n".join(one.format_usage().removeprefix("usage: ").rstrip() for one in made)
    parser.epilog = f"each command has its own --help:\n{usages}\n\n{parser.epilog}"
    return parser


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--of-version", type=int, metavar="N", help="another version than the one that answers")


def _add_update(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("items", metavar="FILE", help="the table of items, Parquet or CSV, one row for each item")
    add("--partial", action="store_true", help="the file holds only what is new or has changed: nothing is removed")
    add("--remove-most", action="store_true", help="a whole table may remove more than half of the items")
    add(
        "--group",
        metavar="COLUMN",
        help="of a model without an items table: a new item starts as the mean of its group",
    )
    add("--item-column", metavar="COLUMN", help="the file's column of ids (default: as in the interactions)")
    add("--dry-run", action="store_true", help="say what would change, and write nothing")
    add("--sample", metavar="FILE", help="interactions that prove the version (default: those that the export kept)")
    add("--of-version", type=int, metavar="N", help="update another version than the one that answers")
    add("--activate", action="store_true", help="let the new version answer")
    _add_server(parser, "the running server that is switched, http://host:8000; without it, for the next start")
    add(
        "--keep-versions",
        type=int,
        default=KEEP_VERSIONS,
        metavar="N",
        help="versions that stay in the repository after --activate (default: %(default)s)",
    )


def _add_availability(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--unavailable", nargs="+", default=[], metavar="ID", help="items that are not to be recommended any more")
    add("--available", nargs="+", default=[], metavar="ID", help="items that are to be recommended again")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--file", metavar="FILE", help="a JSON list that takes the place of the one that is there")
    instead.add_argument("--clear", action="store_true", help="all items may be recommended")
    _add_server(parser, "the running server that reads the list, http://host:8000; without it, for the next start")


def _add_server(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--url", help=text)
    parser.add_argument(
        "--control-key-file", metavar="FILE", help="opens model control, as nextitem-serve was given it"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, or 2 after a sentence on standard error, 130 after Ctrl-C."""
    parser = _parser()
    arguments = commands.parse_arguments(parser, argv)
    output = _Output(json=arguments.json, quiet=arguments.quiet)
    if wrong := _wrong_call(arguments):
        parser.error(wrong)

    from .._errors import ExportError

    signal.signal(signal.SIGTERM, _interrupt)  # so that a half-built version is removed
    run = {"show": _show, "update": _update, "availability": _availability}[arguments.command]
    try:
        with commands.logs(quiet=output.quiet):
            return run(arguments, output)
    except ExportError as error:
        print(f"nextitem-catalogue: {error.in_flags()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"nextitem-catalogue: interrupted; {arguments.repository} is as it was", file=sys.stderr)
        return 130


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wrong_call(arguments: argparse.Namespace) -> str | None:
    """What is too much; None where all is well."""
    if arguments.command != "update":
        return None
    if arguments.url and not arguments.activate:
        return "--url is the server that --activate switches: give both or none"
    if arguments.dry_run and arguments.activate:
        return "--dry-run writes nothing that --activate could switch to: give one of them"
    if arguments.partial and arguments.remove_most:
        return "--partial removes nothing, which --remove-most would allow: give one of them"
    if arguments.keep_versions < 1:
        return f"--keep-versions is {arguments.keep_versions}, expected 1 or more"
    return None


def _show(arguments: argparse.Namespace, output: _Output) -> int:
    from rich.console import Console

    from .._errors import repository_errors
    from .report import describe, show_table

    with repository_errors():
        found = describe(Path(arguments.repository), arguments.name, arguments.of_version)
    if output.json:
        commands.print_json(found)
    else:
        Console().print(show_table(found, datetime.datetime.now(datetime.timezone.utc)))
    return 0


def _update(arguments: argparse.Namespace, output: _Output) -> int:
    server = _Server(arguments.url, arguments.control_key_file)
    key = server.key()  # a file that is not there is told before the work

    from .update import update_catalogue

    with progress_line("opening the bundle", logger, quiet=output.quiet) as progress:
        done = update_catalogue(
            arguments.repository,
            arguments.name,
            arguments.items,
            partial=arguments.partial,
            group=arguments.group,
            remove_most=arguments.remove_most,
            item_column=arguments.item_column,
            version=arguments.of_version,
            sample=arguments.sample,
            dry_run=arguments.dry_run,
            progress=progress,
        )
    if not output.json:
        _print_update(done, activates=arguments.activate)
    activation = None
    if arguments.activate and done.version is not None:
        activation = _activated(done, server.url, key, arguments.keep_versions, output)
    if output.json:
        from .report import update_json

        after = None if activation is None else dataclasses.asdict(activation)
        commands.print_json({**update_json(done), "activation": after})
    elif activation is not None:
        where = f"at {server.url}" if server.url else "from the next start of a server on"
        print(f"'{done.name}' answers with version {activation.version} {where}; before: {activation.before}")
    return 0


def _print_update(done: CatalogueUpdate, *, activates: bool) -> None:
    from rich.console import Console

    from .report import proof_table, update_lines, what_next

    console = Console()
    for line in update_lines(done):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if done.version is None:
        return
    console.print(proof_table(done.proof))
    where = f"version {done.version} of '{done.name}' is in {done.repository}"
    console.print(where if activates else what_next(done), soft_wrap=True, highlight=False, markup=False)


def _activated(done: CatalogueUpdate, url: str | None, key: str | None, keep: int, output: _Output) -> Activation:
    from ..activation import activate_bundle

    with progress_line("reading the versions", logger, quiet=output.quiet) as progress:
        return activate_bundle(
            done.repository, done.name, done.version, url=url, key=key, keep_versions=keep, progress=progress
        )


def _availability(arguments: argparse.Namespace, output: _Output) -> int:
    from .availability import set_availability
    from .report import availability_line

    server = _Server(arguments.url, arguments.control_key_file)
    with progress_line("reading the list", logger, quiet=output.quiet) as progress:
        found = set_availability(
            arguments.repository,
            arguments.name,
            unavailable=arguments.unavailable,
            available=arguments.available,
            file=arguments.file,
            clear=arguments.clear,
            url=server.url,
            key=server.key(),
            progress=progress,
        )
    for item in found.unknown(found.as_ids([*arguments.unavailable, *arguments.available])):
        print(f"nextitem-catalogue: warning: the catalogue has no item {item!r}", file=sys.stderr)
    if output.json:
        commands.print_json({found.kind: list(found.ids), "kept_back": found.unavailable()})
    else:
        print(availability_line(arguments.name, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
