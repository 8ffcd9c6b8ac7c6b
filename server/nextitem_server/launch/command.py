"""The command line that tritonserver is started with."""

from __future__ import annotations

from collections.abc import Sequence

from nextitem_server import control
from nextitem_server.access import Access
from nextitem_server.errors import InvalidOption
from nextitem_server.launch.layout import WorkFolder
from nextitem_server.options import option_value
from nextitem_server.ports import Ports

EXIT_TIMEOUT_S = 10

# tritonserver's option → what to use instead: these are set here, and the start relies on them.
RESERVED = {
    "--model-repository": "--model-repository before the --",
    "--model-store": "--model-repository before the --",
    "--http-address": "--host",
    "--grpc-address": "--host",
    "--metrics-address": "--host",
    "--http-port": "--http-port before the --",
    "--grpc-port": "--grpc-port before the --",
    "--metrics-port": "--metrics-port before the --",
    "--log-file": "--log-file before the --",
    "--log-info": "--verbose before the --",
    "--allow-http": "nothing: readiness is asked over HTTP",
}
_NO = ("false", "False", "0")


def check_options(options: Sequence[str]) -> None:
    """Raise InvalidOption for an option among tritonserver's that is set here."""
    for option in options:
        name = option.split("=", 1)[0]
        if name in RESERVED:
            raise InvalidOption(
                f"{name} cannot be passed on to tritonserver, as nextitem-serve sets it. Use {RESERVED[name]}."
            )


def tritonserver_command(
    folder: WorkFolder,
    models: Sequence[str],
    host: str,
    ports: Ports,
    access: Access,
    options: Sequence[str],
) -> list[str]:
    """The program and its arguments; `models` are loaded at the start.

    `options` come last and so win where one may be repeated.
    """
    command = [str(folder.installation.binary)]
    command += [f"--model-repository={repository}" for repository in folder.repositories]
    for service, port in ports.items():
        command += [f"--{service}-address={host}", f"--{service}-port={port}"]
    if folder.installation.backends is not None:
        command.append(f"--backend-directory={folder.installation.backends}")
    command.append(f"--backend-config=python,shm-region-prefix-name={folder.shm_prefix}")
    if option_value(options, "--exit-timeout-secs") is None:
        command.append(f"--exit-timeout-secs={EXIT_TIMEOUT_S}")
    return [*command, *control.control_options(options, models), *access.options(), *options]


def expected_services(options: Sequence[str]) -> set[str]:
    """The services that will listen: http always, grpc and metrics unless switched off."""
    off = {name for name in ("grpc", "metrics") if option_value(options, f"--allow-{name}") in _NO}
    return {"http", "grpc", "metrics"} - off


def may_start_empty(options: Sequence[str]) -> bool:
    """Whether models may come later, so that an empty repository is no mistake."""
    return option_value(options, control.MODE) in ("poll", "explicit")


def stop_grace_s(options: Sequence[str]) -> float:
    """Seconds from the wish to stop until tritonserver is killed: its own limit and a margin."""
    given = option_value(options, "--exit-timeout-secs")
    return (float(given) if given and given.isdigit() else EXIT_TIMEOUT_S) + 5.0
