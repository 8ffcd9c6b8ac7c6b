# PYTHON_ARGCOMPLETE_OK
"""The command nextitem-recommend."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from nextitem_bundle import commands
from nextitem_client._client import Client
from nextitem_client._exceptions import InvalidOption, InvalidSession, NextItemError
from nextitem_client._offline import OfflineClient
from nextitem_client._settings import DEFAULT_TIMEOUT_S, Tls
from nextitem_client._wire.response import Recommendation
from nextitem_client.bulk import DEFAULT_CONCURRENCY, DEFAULT_SESSION_COLUMN, BulkReport, recommend_file

EXIT_SOME_FAILED = 1
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130  # a shell's 128 + SIGINT
DEFAULT_URL = "http://127.0.0.1:8000"

_EPILOG = """\
a session is a JSON list of events, or an object of columns; several stand under "sessions":
  [{"item_id": "A12", "timestamp": "2024-05-01T10:00:00Z"}, …]
  {"item_id": ["A12", "B7"], "timestamp": ["2024-05-01T10:00:00Z", "2024-05-01T10:02:11Z"]}
  {"sessions": [ … , … ]}

example:
  echo '[{"item_id": "A12", "timestamp": "2024-05-01T10:00:00Z"}]' | nextitem-recommend --k 5
  nextitem-recommend --bundle model_repository/shop --sessions sessions.parquet --output items.parquet
"""
_EXIT_CODES = {
    0: "done",
    EXIT_SOME_FAILED: "done, but sessions of the file failed; the summary names the file that lists them",
    EXIT_FAILED: "a wrong call, or no answer; one sentence on standard error",
    EXIT_INTERRUPTED: "interrupted",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Ask for the sessions' next items and print them; return the exit code."""
    arguments = commands.parse_arguments(_parser(), argv)
    with commands.logs(quiet=arguments.quiet):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    try:
        whole_file = _check_bulk_arguments(arguments)
        sessions, several = ([], False) if whole_file else _read_sessions(arguments.session)
        with _client(arguments) as client:
            exclude, allow = _ids(arguments.exclude, client), _ids(arguments.allow, client)
            if whole_file:
                return _recommend_to_file(client, arguments, exclude, allow)
            found = client.recommend_many(
                sessions, arguments.k, exclude=exclude, allow=allow, exclude_seen=arguments.exclude_seen
            )
    except (NextItemError, OSError) as error:
        print(f"nextitem-recommend: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(f"nextitem-recommend: {_how_to_continue(arguments)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if arguments.json:
        print(_as_json(found, several))
    else:
        print("\n\n".join(_as_table(answer, i, several) for i, answer in enumerate(found)))
    return 0


def _client(arguments: argparse.Namespace) -> Client:
    if arguments.bundle is None:
        if arguments.no_verify or arguments.trust_pickle:
            raise InvalidOption("--no-verify and --trust-pickle say how to open a bundle; they need --bundle.")
        headers = dict(_header(text) for text in arguments.header)
        tls = Tls(ca_file=arguments.ca_file) if arguments.ca_file is not None else None
        url = arguments.url if arguments.url is not None else DEFAULT_URL
        return Client(url, arguments.model, timeout_s=arguments.timeout_s, headers=headers, tls=tls)
    of_a_server = {"--url": arguments.url, "--model": arguments.model, "--header": arguments.header or None}
    for name, value in {**of_a_server, "--ca-file": arguments.ca_file}.items():
        if value is not None:
            raise InvalidOption(f"--bundle answers without a server and does not go with {name}.")
    return OfflineClient(arguments.bundle, verify=not arguments.no_verify, trust_pickle=arguments.trust_pickle)


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator:
        raise InvalidOption(f"--header {name} has no colon; expected is --header 'NAME: VALUE'.")
    return name.strip(), value.strip()


def _ids(given: list[str] | None, client: Client) -> list[Any] | None:
    """Ids from the command line are text; those of an integer column are numbers."""
    if given is None:
        return None
    kind = {feature.name: feature.kind for feature in client.signature.features}[client.signature.item_column]
    if kind != "integer":
        return given
    try:
        return [int(one) for one in given]
    except ValueError as error:
        raise InvalidOption(f"An id of --exclude or --allow is no number ({error}), as this model's ids are.") from None


def _read_sessions(source: str) -> tuple[list[Any], bool]:
    """The sessions in the file `source` (- is standard input), and whether it lists several."""
    if source == "-" and sys.stdin.isatty():
        raise InvalidSession(
            "No session was given. Give a JSON file with --session FILE, or pipe one in; --help shows the format."
        )
    name = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        document: Any = json.loads(text)
    except OSError as error:
        raise InvalidSession(f"The session file {name} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InvalidSession(f"The session in {name} is no JSON ({error}); --help shows the format.") from None
    if isinstance(document, dict):
        fields = cast("dict[str, Any]", document)
        if fields.keys() == {"sessions"} and isinstance(fields["sessions"], list):
            return cast("list[Any]", fields["sessions"]), True
    return [document], False


def _as_json(found: list[Recommendation], several: bool) -> str:
    answers = [asdict(answer) for answer in found]
    document: Any = {"recommendations": answers} if several else answers[0]
    return json.dumps(document, ensure_ascii=False, indent=2)


def _as_table(answer: Recommendation, index: int, several: bool) -> str:
    title = f"session {index}: " if several else ""
    lines = [f"{title}status {answer.status}, model {answer.model} version {answer.model_version}"]
    lines += [f"{name}: {' '.join(map(_number, values))}" for name, values in answer.heads.items()]
    width = max([4, *(len(str(item)) for item in answer.item_ids)])
    lines.append(f"{'rank':>4}  {'item':<{width}}  {'score':>10}")
    lines += [
        f"{rank:>4}  {item!s:<{width}}  {score:>10.4f}"
        for rank, (item, score) in enumerate(zip(answer.item_ids, answer.scores), start=1)
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = commands.command_parser(
        "nextitem-recommend",
        distribution="nextitem-client",
        description="Asks a nextitem server, or a bundle, for the next items of sessions.",
        epilog=_EPILOG,
        exit_codes=_EXIT_CODES,
    )
    add = parser.add_argument
    add("--url", help=f"or grpc://host:8001 ({DEFAULT_URL})")
    add("--model", metavar="NAME", help="the bundle's name, where the server has several")
    add("--bundle", metavar="FOLDER", help="answer from <repository>/<name>, without a server")
    add("--no-verify", action="store_true", help="do not compare the bundle's files with its checksums")
    add("--trust-pickle", action="store_true", help="open a bundle of --features nvtabular")
    add("--k", type=int, metavar="N", help="items wanted (the model's default)")
    add("--session", default="-", metavar="FILE", help="JSON file; - is standard input (default)")
    add("--exclude", metavar="ID", nargs="+", help="items never to recommend")
    add("--allow", metavar="ID", nargs="+", help="items of which alone to recommend")
    add("--exclude-seen", action="store_true", help="leave out the session's own items")
    commands.add_output_options(
        parser,
        json_help="print JSON instead of a table; with --sessions, of the summary",
        quiet_help="draw no progress bar and print no summary; errors are shown",
    )
    add("--timeout-s", type=float, default=DEFAULT_TIMEOUT_S, metavar="S", help="default %(default)s")
    add("--header", metavar="'NAME: VALUE'", action="append", default=[], help="sent along, such as an API key")
    add("--ca-file", metavar="FILE", help="authorities to trust with https:// and grpcs://, PEM")
    _add_bulk_arguments(parser)
    return parser


def _add_bulk_arguments(parser: argparse.ArgumentParser) -> None:
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


def _check_bulk_arguments(arguments: argparse.Namespace) -> bool:
    """Whether a whole file is asked for. Raises InvalidOption where only part of it is said."""
    if arguments.sessions is None and arguments.output is None:
        for name in ("resume", "overwrite", "no_progress"):
            if getattr(arguments, name):
                raise InvalidOption(f"--{name.replace('_', '-')} is for whole files and needs --sessions and --output.")
        return False
    if arguments.sessions is None or arguments.output is None:
        missing = "--output" if arguments.output is None else "--sessions"
        raise InvalidOption(f"{missing} is missing: --sessions FILE and --output FILE belong together.")
    if arguments.session != "-":
        raise InvalidOption("--session is for single sessions and does not go with --sessions.")
    return True


def _recommend_to_file(
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
        progress=not (arguments.no_progress or arguments.quiet),
    )
    if arguments.json:
        commands.print_json(asdict(report))
    elif not arguments.quiet:
        print(_summary(report))
    return EXIT_SOME_FAILED if report.failed else 0


def _how_to_continue(arguments: argparse.Namespace) -> str:
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


if __name__ == "__main__":
    sys.exit(main())
