"""One project of docker-compose.yml under a name of its own: brought up, looked into, taken down."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from .console import fail, say
from .engine import ROOT, Engine

READY_TIMEOUT_S = 180
PORTS = (
    *("HTTP_PORT", "GRPC_PORT", "METRICS_PORT"),
    *("LB_HTTP_PORT", "LB_GRPC_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"),
)
# Asked without the machine's proxy, which has no business with 127.0.0.1.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# From inside: the container has Python, and no curl.
_METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8002/metrics', timeout=5).read().decode())"


def free_ports() -> dict[str, str]:
    """A free port for each variable of docker-compose.yml."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in PORTS}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {name: str(one.getsockname()[1]) for name, one in sockets.items()}


def status_of(url: str, headers: Mapping[str, str] | None = None) -> int:
    """The HTTP status of a GET; 0 where nobody answers."""
    try:
        with _OPENER.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0


def wait_for(what: str, condition: Callable[[], bool], timeout_s: float = READY_TIMEOUT_S) -> float:
    """Seconds until the condition holds; fails where that takes too long."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            fail(f"{what} did not happen within {timeout_s:g} s.")
        time.sleep(0.1)
    return time.monotonic() - started


class Project:
    """The services of docker-compose.yml with these settings, on free ports of 127.0.0.1."""

    def __init__(self, engine: Engine, settings: Mapping[str, str]) -> None:
        self.engine = engine
        self.ports = free_ports()
        self.name = f"nextitem-test-{os.getpid()}"
        self.settings = {"BIND_ADDRESS": "127.0.0.1", **self.ports, **settings}

    def __enter__(self) -> "Project":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        _be_undisturbed()
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self.compose("logs", check=False)
        self.compose("down", "--volumes", check=False)

    def compose(self, *arguments: str, check: bool = True) -> None:
        """Run a command of Compose with every profile."""
        profiles = [f"--profile={name}" for name in ("monitoring", "replicas")]
        command = [*self.engine.compose, *profiles, "--project-name", self.name, *arguments]
        environment = self.engine.environment | self.settings
        subprocess.run(command, cwd=ROOT, env=environment, check=check, stdin=subprocess.DEVNULL)

    def up(self, *services: str) -> None:
        """Bring services up; the image is there."""
        self.compose("up", "--detach", "--no-build", *services)

    def remove(self, service: str) -> None:
        """Take a service's containers away."""
        self.engine.output("rm", "--force", *self.containers(service))

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, stopped ones too, in the order of their names."""
        labels = {"project": self.name, "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        listed = self.engine.output("ps", "--all", *filters, "--format={{.Names}} {{.ID}}")
        found = [line.split()[1] for line in sorted(listed.splitlines())]
        if not found:
            fail(f"the service {service} has no container.")
        return found

    def url(self, port: str, path: str = "") -> str:
        """The address of a published port, named by its variable."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def wait_until_ready(self, service: str, port: str = "HTTP_PORT") -> float:
        """Seconds until the server behind the port is ready; fails where the container did not stay up."""
        (container,) = self.containers(service)

        def ready() -> bool:
            if status_of(self.url(port, "/v2/health/ready")) == 200:
                return True
            state, restarts = self.state(container)
            if state not in ("running", "created", "initialized") or restarts:
                fail(f"the service {service} did not stay up (it is {state} after {restarts} restarts).")
            return False

        return wait_for(f"that {service} is ready", ready)

    def state(self, container: str) -> tuple[str, int]:
        """Its state in a word, and how often it was started again."""
        told = self.engine.output("inspect", "--format={{.State.Status}} {{.RestartCount}}", container)
        state, _, restarts = told.partition(" ")
        return state, int(restarts or 0)

    def logs(self, container: str) -> str:
        """What it said, on both streams."""
        command = [self.engine.program, "logs", container]
        done = subprocess.run(
            command,
            env=self.engine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def python_inside(self, container: str, code: str) -> str:
        """What a program prints that runs inside the container as its user."""
        return self.engine.output("exec", container, "python3", "-I", "-c", code)

    def answered(self, container: str, model: str) -> int:
        """How many requests this server has answered, by its own metrics."""
        wanted = f'nv_inference_request_success{{model="{model}",'
        lines = self.python_inside(container, _METRICS).splitlines()
        return round(sum(float(line.split()[-1]) for line in lines if line.startswith(wanted)))


def get_json(url: str) -> dict:
    """The JSON that a GET brings."""
    with _OPENER.open(url, timeout=20) as answer:
        return json.load(answer)


def _be_undisturbed() -> None:
    """From here on an impatient second Ctrl-C must not leave a container behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the commands that are started from here inherit it


def megabytes(engine: Engine, image: str) -> str:
    """The image's size, its base included."""
    return f"{int(engine.output('image', 'inspect', '--format={{.Size}}', image)) / 1e6:.0f} MB"


def build(project: Project, image: str, base: str) -> None:
    """Build the server's image."""
    say(f"building the image on {base}")
    project.compose("build", "server")
    say(f"image: {megabytes(project.engine, image)}, of which the base {megabytes(project.engine, base)}")
