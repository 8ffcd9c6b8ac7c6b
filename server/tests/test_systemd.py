"""deploy/systemd/nextitem-serve.service agrees with nextitem-serve: options, signals, exit codes, limits."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nextitem_server import cli
from nextitem_server.launch.command import check_options, stop_grace_s
from nextitem_server.launch.guard import MOST_FILES
from nextitem_server.launch.stack import STACK_BYTES

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "nextitem-serve.service"
#: What nextitem-serve and its guard need at most beside tritonserver's own time to end, in seconds.
CLEANING_UP_S = 3.0

Unit = dict[str, dict[str, str]]


def parsed(text: str) -> Unit:
    """Each section of a unit; a backslash at a line's end joins it to the next one."""
    unit: Unit = {}
    section: dict[str, str] = {}
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;"]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = unit.setdefault(line.strip("[]"), {})
            continue
        key, _, value = line.partition("=")
        assert key not in section, f"{key} stands twice"
        section[key] = " ".join(value.split())
    return unit


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    return parsed(UNIT.read_text(encoding="utf-8"))["Service"]


@pytest.fixture(scope="module")
def command(service) -> list[str]:
    """The program and its arguments, as systemd passes them."""
    assert not set("%$'\"") & set(service["ExecStart"]), "systemd would replace or unquote something"
    return service["ExecStart"].split()


def triton_options(command: list[str]) -> list[str]:
    return command[command.index("--") + 1 :]


def exit_codes(text: str) -> set[int]:
    return {int(code) for code in text.split()}


def serve(*arguments: str | Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "nextitem_server.cli", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_the_unit_is_read_as_systemd_reads_it():
    assert parsed("# a\n[Service]\nExecStart=a \\\n# b\n    -c=d\nRestart=no\n[Install]\n") == {
        "Service": {"ExecStart": "a -c=d", "Restart": "no"},
        "Install": {},
    }


def test_every_option_is_one_of_nextitem_serves(command):
    assert Path(command[0]).is_absolute()
    assert Path(command[0]).name == "nextitem-serve"
    options = cli._parser().parse_args(command[1 : command.index("--")])
    assert options.model_repository == ["/srv/nextitem/model_repository"]
    check_options(triton_options(command))
    assert all(option.startswith("--metrics-config=") for option in triton_options(command))


def test_the_log_lies_where_the_service_may_write(service, command):
    log = Path(cli._parser().parse_args(command[1 : command.index("--")]).log_file)
    assert service["ProtectSystem"] == "strict"
    assert log.parent == Path("/var/log") / service["LogsDirectory"]


def test_systemd_waits_longer_than_stopping_takes(service, command):
    assert int(service["TimeoutStopSec"]) > stop_grace_s(triton_options(command)) + CLEANING_UP_S
    assert service["KillMode"] == "mixed", "tritonserver and its processes are ended by nextitem-serve, not by systemd"


def test_the_stop_signal_before_the_server_is_ready_is_no_failure(service, tmp_path):
    number = signal.Signals[service["KillSignal"]]
    process = serve("--model-repository", tmp_path, "--wait-for-models")
    assert "Waiting" in process.stderr.readline()
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert process.returncode in exit_codes(service["SuccessExitStatus"])


def test_a_wrong_call_is_not_repeated(service, tmp_path):
    process = serve("--model-repository", tmp_path / "missing")
    process.communicate(timeout=20)
    assert process.returncode == cli.EXIT_CALLED_WRONGLY
    assert exit_codes(service["RestartPreventExitStatus"]) == {cli.EXIT_CALLED_WRONGLY}


def test_a_server_that_failed_is_started_again(service):
    assert service["Restart"] == "on-failure"
    other = exit_codes(f"{service['RestartPreventExitStatus']} {service['SuccessExitStatus']}")
    assert cli.EXIT_SERVER_FAILED not in other
    assert parsed(UNIT.read_text(encoding="utf-8"))["Unit"]["StartLimitIntervalSec"] == "0"


def test_a_process_that_memory_was_missing_for_is_left_to_nextitem_serve(service):
    assert service["OOMPolicy"] == "continue"


def test_the_limits_leave_what_tritonserver_needs(service):
    assert 4096 < int(service["LimitNOFILE"]) <= MOST_FILES
    assert int(service.get("LimitSTACK", STACK_BYTES)) >= STACK_BYTES
    assert "LimitAS" not in service, "with it the stack cannot be raised"
    assert "NoExecPaths" not in service, "Triton runs programs in /tmp"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on the PATH")
@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("", "", ""),
        ("RestartSec=3", "RestartSecs=3", "RestartSecs"),
        ("OOMPolicy=continue", "OOMPolicy=no", "OOM policy"),
    ],
)
def test_systemd_understands_it(command, tmp_path, old, new, complaint):
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace(command[0], sys.executable)  # which is there and can be run
    assert old in text
    copy.write_text(text.replace(old, new) if old else text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (complaint in "\n".join(ours)) if complaint else (ours == [] and done.returncode == 0), done.stderr
