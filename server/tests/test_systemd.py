"""deploy/systemd/nextitem-serve.service agrees with nextitem-serve: options, signals, exit codes, limits."""

import re
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

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "nextitem-serve.service"
#: The drop-ins that the page shows.
DROP_INS = re.findall(
    r"^```ini\n(.*?)^```", (ROOT / "docs" / "production.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)
#: What nextitem-serve and its guard need at most beside tritonserver's own time to end, in seconds.
CLEANING_UP_S = 3.0

Unit = dict[str, dict[str, str]]


def parsed(text: str) -> Unit:
    """Each section of a unit; a backslash at a line's end joins it to the next one, and an empty value resets its key."""
    unit: Unit = {}
    section: dict[str, str] = {}
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;"]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = unit.setdefault(line.strip("[]"), {})
            continue
        key, _, value = line.partition("=")
        assert not section.get(key), f"{key} stands twice"
        section[key] = " ".join(value.split())
    return unit


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    return parsed(UNIT.read_text(encoding="utf-8"))["Service"]


@pytest.fixture(scope="module")
def command(service) -> list[str]:
    """The program and its arguments, as systemd passes them."""
    return words(service["ExecStart"])


def words(command: str) -> list[str]:
    assert not set("%$'\"") & set(command), "systemd would replace or unquote something"
    return command.split()


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


def test_the_drop_in_of_the_page_is_what_the_front_expects():
    (dropped,) = [unit["Service"]["ExecStart"] for unit in map(parsed, DROP_INS) if "ExecStart" in unit["Service"]]
    command = words(dropped)
    options = cli._parser().parse_args(command[1 : command.index("--")])
    check_options(triton_options(command))
    front = (ROOT / "deploy" / "load-balancer" / "pod.cfg").read_text(encoding="utf-8")
    ports = re.findall(r"server triton 127\.0\.0\.1:(\d+)", front)
    assert [options.http_port, options.grpc_port, options.metrics_port] == list(map(int, ports))


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


def complaints(unit: str, folder: Path) -> list[str]:
    """What systemd says of a unit whose program is another one, which is there and can be run."""
    copy = folder / UNIT.name
    copy.write_text(unit.replace("/opt/nextitem/bin/nextitem-serve", sys.executable), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if UNIT.name in line]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on the PATH")
@pytest.mark.parametrize("drop_in", ["", *DROP_INS])
def test_systemd_understands_it(tmp_path, drop_in):
    assert complaints(f"{UNIT.read_text(encoding='utf-8')}\n{drop_in}", tmp_path) == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on the PATH")
@pytest.mark.parametrize(
    ("mistake", "complaint"), [("RestartSecs=3", "RestartSecs"), ("OOMPolicy=no", "OOM policy"), ("ExecStart=x", "x")]
)
def test_a_mistake_in_a_unit_is_found(tmp_path, mistake, complaint):
    (found, *_) = complaints(f"{UNIT.read_text(encoding='utf-8')}\n[Service]\n{mistake}\n", tmp_path)
    assert complaint in found
