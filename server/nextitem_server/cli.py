# PYTHON_ARGCOMPLETE_OK
"""The command nextitem-serve."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from nextitem_bundle import commands
from nextitem_server import console
from nextitem_server.access import CLOSABLE
from nextitem_server.console import LogFollower
from nextitem_server.control import key_from
from nextitem_server.errors import (
    EmptyRepository,
    InvalidOption,
    PortInUse,
    RepositoryError,
    ServeError,
    TritonNotFound,
    WorkFolderError,
)
from nextitem_server.process import TritonServer
from nextitem_server.repository import check_repository, wait_for_models

EXIT_STOPPED = 0
EXIT_SERVER_FAILED = 1
EXIT_CALLED_WRONGLY = 2
_CALLERS_ERRORS = (InvalidOption, PortInUse, RepositoryError, TritonNotFound, WorkFolderError)
_POLL_S = 0.2

_EPILOG = """\
example:
  nextitem-serve --model-repository model_repository
  nextitem-serve --model-repository model_repository --http-port 0 -- --log-verbose=1
"""
_EXIT_CODES = {
    EXIT_STOPPED: "stopped as asked (Ctrl-C, SIGTERM)",
    EXIT_SERVER_FAILED: "Triton or a model failed",
    EXIT_CALLED_WRONGLY: "wrong call (repository, port, option, installation)",
    "128 + N": "signal N before the server was ready",
}

logger = logging.getLogger(__name__)


class _Stop(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options: list[str] = []
    if "--" in arguments:
        split = arguments.index("--")
        arguments, options = arguments[:split], arguments[split + 1 :]
    parsed = commands.parse_arguments(_parser(), arguments)
    with commands.logs(quiet=parsed.quiet):
        return _run(parsed, options)


def _run(parsed: argparse.Namespace, options: Sequence[str]) -> int:
    try:
        key = None if parsed.control_key_file is None else key_from(Path(parsed.control_key_file))
    except InvalidOption as error:
        _say(f"nextitem-serve: {error}")
        return EXIT_CALLED_WRONGLY
    server = TritonServer(
        parsed.model_repository,
        host=parsed.host,
        http_port=parsed.http_port,
        grpc_port=parsed.grpc_port,
        metrics_port=parsed.metrics_port,
        server=parsed.server,
        timeout_s=parsed.timeout_s,
        options=options,
        open_apis=parsed.open_api,
        log_path=parsed.log_file,
        control_key=key,
        verify=not parsed.no_verify,
    )
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, _raise_stop)
    try:
        return _serve(server, parsed)
    except _Stop as stop:  # while an error was being cleaned up; the guard does the rest
        return 128 + stop.number
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        console.finish(sys.stdout, sys.stderr)


def _raise_stop(number: int, frame: FrameType | None) -> NoReturn:
    # Once is enough: a second Ctrl-C must not cut the orderly end short.
    for both in (signal.SIGINT, signal.SIGTERM):
        signal.signal(both, signal.SIG_IGN)
    raise _Stop(number)


def _serve(server: TritonServer, parsed: argparse.Namespace) -> int:
    ready = False
    begun = time.monotonic()
    try:
        if parsed.wait_for_models:
            for repository in server.repositories:
                _wait_for_models(repository)
        if not parsed.quiet:
            _say(f"nextitem-serve: loading the models in {', '.join(map(str, server.repositories))} …")
        try:
            server.start()
        finally:
            _say_notices(server)
        ready = True
        logger.debug("ready after %.1f s; Triton's log is %s", time.monotonic() - begun, server.log_path)
        _announce(server, as_json=parsed.json)
        return _watch(server, verbose=parsed.verbose)
    except _Stop as stop:
        if not parsed.quiet:
            _say("nextitem-serve: stopping …")
        return EXIT_STOPPED if ready else 128 + stop.number
    except ServeError as error:
        _say(f"nextitem-serve: {error}")
        return EXIT_CALLED_WRONGLY if isinstance(error, _CALLERS_ERRORS) else EXIT_SERVER_FAILED
    except OSError as error:
        gone = f"the server stopped answering ({error}). {server.death_notice()}"  # before it could be asked for its models
        _say(f"nextitem-serve: {gone if ready else f'the server could not be started: {error}'}")
        return EXIT_SERVER_FAILED
    finally:
        server.stop()


def _wait_for_models(repository: Path) -> None:
    try:
        check_repository(repository)
    except EmptyRepository as empty:
        _say(
            f"nextitem-serve: {empty} (In a container: into the folder that is mounted there, such as "
            "./model_repository.) Waiting for it; serving starts by itself then."
        )
        wait_for_models(repository)


def _watch(server: TritonServer, *, verbose: bool) -> int:
    assert server.log_path is not None  # it runs
    follower = LogFollower(server.log_path, sys.stderr, begin=server.log_begin, verbose=verbose)
    pause = threading.Event()  # waits, and is interrupted by the signals' exceptions
    while server.poll() is None:
        _show_news(server, follower)
        pause.wait(_POLL_S)
    _show_news(server, follower)
    _say(f"nextitem-serve: {server.death_notice()}")
    return EXIT_SERVER_FAILED


def _show_news(server: TritonServer, follower: LogFollower) -> None:
    follower.show_new_lines()
    _say_notices(server)


def _say_notices(server: TritonServer) -> None:
    while server.notices:
        _say(f"nextitem-serve: {server.notices.popleft()}")


def _announce(server: TritonServer, *, as_json: bool) -> None:
    models = server.models()
    ready = sorted(model.name for model in models if model.state == "READY")
    called = sorted(model.name for model in models if model.called)
    if as_json:
        urls = {"http_url": server.http_url, "grpc_url": server.grpc_url, "metrics_url": server.metrics_url}
        console.say(json.dumps({"ready": ready, "called": called, **urls}), sys.stdout)
        return
    lines = [f"ready: {', '.join(ready) if ready else 'no model yet'}"]
    if called:
        lines.append(f"ask:   {', '.join(called)}")
    lines += [
        f"HTTP     {server.http_url}",
        f"gRPC     {server.grpc_url}",
        f"metrics  {server.metrics_url}",
    ]
    if called:
        lines.append(f"try:   nextitem-recommend --url {server.http_url} --model {called[0]} --session FILE")
    lines.append("Ctrl-C stops the server")
    console.say("\n".join(lines), sys.stdout)


def _say(text: str) -> None:
    console.say(text, sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = commands.command_parser(
        "nextitem-serve",
        distribution="nextitem-server",
        description="Serves a model repository with NVIDIA Triton Inference Server.",
        epilog=_EPILOG,
        exit_codes=_EXIT_CODES,
        usage="%(prog)s --model-repository PATH [options] [-- tritonserver options]",
    )
    add = parser.add_argument
    add(
        "--model-repository",
        required=True,
        action="append",
        metavar="PATH",
        help="what nextitem-export wrote (may be repeated: all are served)",
    )
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all (%(default)s)")
    add("--http-port", type=int, default=8000, metavar="N", help="0: a free one (%(default)s)")
    add("--grpc-port", type=int, default=8001, metavar="N", help="0: a free one (%(default)s)")
    add("--metrics-port", type=int, default=8002, metavar="N", help="0: a free one (%(default)s)")
    add("--server", metavar="PATH", help="an installed tritonserver instead of the embedded one")
    add("--timeout-s", type=float, default=120.0, metavar="S", help="start to ready (%(default)s)")
    add(
        "--control-key-file",
        metavar="FILE",
        help="the key that loads models anew (nextitem-export --activate), made where it is missing; else nobody can",
    )
    add("--no-verify", action="store_true", help="serve bundles whose files are not those that were exported")
    add(
        "--wait-for-models",
        action="store_true",
        help="wait where the repository holds no model yet, instead of ending with an error",
    )
    add(
        "--open-api",
        action="append",
        default=[],
        choices=sorted(CLOSABLE),
        help="let clients reach this API of Triton's, which is closed to them by default (may be repeated)",
    )
    add("--log-file", metavar="PATH", help="keep Triton's log there, and the part before its last 256 MB in PATH.1")
    add("--verbose", action="store_true", help="show the whole log, not only warnings and errors")
    commands.add_output_options(
        parser,
        json_help="print the ready models and the URLs as one line of JSON once the server is ready",
        quiet_help="do not say that models are loaded or the server stops; warnings and errors are shown",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
