"""One running tritonserver: start, wait until ready, stop."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from nextitem_server import diagnosis, health, ports
from nextitem_server.access import make_access
from nextitem_server.checksums import verify_bundles
from nextitem_server.errors import InvalidOption, ModelsFailed, ServeError, ServerDied, StartTimeout
from nextitem_server.launch import command, guard
from nextitem_server.launch.layout import WorkFolder, environment, make_work_folder
from nextitem_server.launch.locate import locate
from nextitem_server.launch.logfile import KEPT_LIMIT, WORK_LIMIT, LogLimit, open_log
from nextitem_server.launch.stack import stack_limit
from nextitem_server.ports import Ports
from nextitem_server.repository import check_repositories, left_alone
from nextitem_server.supervision.restart import ModelRestart
from nextitem_server.supervision.supervise import RESTARTS, Processes, Restarts, Supervisor

START_ATTEMPTS = 10
_POLL_S = 0.05
_EVERY_INTERFACE = "0.0.0.0"


class TritonServer:
    """A Triton that serves the models in `repository`. Use it as a context manager, or call start() and stop().

    While it runs, dead processes of models are started again (docs/operating.md).

    Args:
        repository: the model repository, as nextitem-export writes it, or several.
        host: the IPv4 address (or name of one) that HTTP, gRPC and metrics listen on.
        http_port: the port of HTTP. 0 picks a free one.
        grpc_port: the port of gRPC. 0 picks a free one.
        metrics_port: the port of the Prometheus metrics. 0 picks a free one.
        server: an installed tritonserver. None takes the one in the nvidia-pytriton wheel.
        timeout_s: seconds from start to ready.
        options: further options of tritonserver, such as "--log-verbose=1".
        open_apis: what clients may reach of Triton's APIs that are closed by default: "shared-memory", "trace",
            "logging" and "model-repository".
        log_path: the file that Triton's log is appended to; of more than 256 MB the part before goes to a file with .1 behind
            its name. None keeps the log only until stop().
        control_key: the key with which a request reaches the closed APIs, such as loading models anew. None makes one
            up.
        verify: compare the bundles' files with their checksums before the start.

    Attributes:
        repositories: the model repositories.
        ports: the ports; known after start() where 0 was given.
        notices: what whoever runs the server should know: at most the latest 100 notices, a sentence each.

    Raises:
        InvalidOption: an API in `open_apis` does not exist.
    """

    def __init__(
        self,
        repository: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        server: str | os.PathLike[str] | None = None,
        timeout_s: float = 120.0,
        options: Sequence[str] = (),
        open_apis: Sequence[str] = (),
        log_path: str | os.PathLike[str] | None = None,
        control_key: str | None = None,
        verify: bool = True,
    ):
        several = [repository] if isinstance(repository, (str, os.PathLike)) else repository
        self.repositories = tuple(Path(path) for path in several)
        self.host = host
        self.ports = Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)
        self.timeout_s = timeout_s
        self.options = tuple(options)
        self._access = make_access(open_apis, control_key)
        self._verify = verify
        self._wanted = self.ports
        self._server = server
        self._kept_log = Path(log_path) if log_path is not None else None
        self._folder: WorkFolder | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._last_log = ""
        self._supervisor: Supervisor | None = None
        self._log_limit: LogLimit | None = None
        self._gave_up: str | None = None
        self._models: list[str] = []
        self._stack_bytes = 0
        self.notices: deque[str] = deque(maxlen=100)

    @property
    def repository(self) -> Path:
        """The first of the repositories."""
        return self.repositories[0]

    def __enter__(self) -> TritonServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> TritonServer:
        """Start Triton, and return when every model is ready. Whatever fails, nothing is left running.

        Returns:
            The server itself.

        Raises:
            ServeError: the server does not start; a subclass says why.
        """
        if self._guard is not None:
            raise ServeError("This TritonServer runs already: stop() it first, or make another.")
        command.check_options(self.options)
        models = check_repositories(self.repositories, may_be_empty=command.may_start_empty(self.options))
        self._models = [name for names in models.values() for name in names]
        self.notices.extend(left for path in models if (left := left_alone(path)))
        if self._verify:
            for path, names in models.items():
                verify_bundles(path, names)
        self._stack_bytes, shortage = stack_limit()
        if shortage:
            self.notices.append(shortage)
        address = ports.resolve_host(self.host)
        deadline = time.monotonic() + self.timeout_s
        for attempt in range(START_ATTEMPTS):
            try:
                self._launch(address)
                self._wait_until_ready(deadline)
                self._watch()
                return self
            except _PortLostError as lost:
                self.stop(kill=True)
                if attempt + 1 == START_ATTEMPTS or getattr(self._wanted, lost.service) != 0:
                    raise ports.in_use(self.host, lost.service, lost.port) from None
            except BaseException:
                self.stop(kill=True)  # while it loads, Triton heeds no other signal
                raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def stop(self, *, kill: bool = False) -> None:
        """End tritonserver and its stubs, and remove work folder and shared memory. May be called again.

        Args:
            kill: end at once. Otherwise requests that are in progress are answered first.
        """
        process, folder = self._guard, self._folder
        dead = self._supervisor is not None and self._supervisor.stop()
        self._supervisor = None
        if process is not None:
            self._end(guard.KILL_NOW if kill else guard.ABANDON_DEAD if dead else b"")
            process.wait()
            self._guard = None
        if folder is not None:
            if self._log_limit is not None:
                self._log_limit.stop()
            self._last_log, self._log_limit = self.logs(), None
            guard.remove_shared_memory(folder.shm_prefix)  # had the guard been killed
            folder.remove()
            self._folder = None

    def _end(self, wish: bytes) -> None:
        """Have the guard end tritonserver."""
        pipe = self._guard.stdin if self._guard is not None else None
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(OSError):
                pipe.write(wish)
                pipe.close()  # what the guard waits for

    def poll(self) -> int | None:
        """None while tritonserver runs, else its exit code (128 + N: ended by signal N)."""
        return self._guard.poll() if self._guard is not None else None

    def models(self) -> list[health.ModelState]:
        """The models that the server knows, and which of them clients call."""
        return health.list_models(self._reachable_host, self.ports.http, self.control_headers)

    @property
    def control_headers(self) -> Mapping[str, str]:
        """HTTP headers and gRPC metadata with the key to the closed APIs, for who runs this server."""
        return self._access.headers

    def logs(self) -> str:
        """Triton's log since this start, from its last cut on; after stop(), until then."""
        if self._folder is None or self._log_limit is None:
            return self._last_log
        return self._folder.with_real_paths(self._log_limit.read())

    @property
    def log_path(self) -> Path | None:
        """Triton's log: where the caller wants it, else in the work folder while running."""
        if self._kept_log is not None:
            return self._kept_log
        return self._folder.log if self._folder is not None else None

    @property
    def log_begin(self) -> int:
        """The byte of that file where the log of this start begins: a file that the caller keeps holds earlier ones too."""
        return self._log_limit.begin if self._log_limit is not None else 0

    @property
    def http_url(self) -> str:
        """http://host:port, reachable from this machine."""
        return f"http://{self._reachable_host}:{self.ports.http}"

    @property
    def grpc_url(self) -> str:
        """grpc://host:port, reachable from this machine."""
        return f"grpc://{self._reachable_host}:{self.ports.grpc}"

    @property
    def metrics_url(self) -> str:
        """http://host:port/metrics, reachable from this machine."""
        return f"http://{self._reachable_host}:{self.ports.metrics}/metrics"

    @property
    def _reachable_host(self) -> str:
        return "127.0.0.1" if self.host == _EVERY_INTERFACE else self.host

    def _launch(self, address: str) -> None:
        self.ports = ports.choose(address, self._wanted)
        self._folder = folder = make_work_folder(locate(self._server), self.repositories, self._kept_log)
        program = command.tritonserver_command(
            folder,
            self._models,
            address,
            self.ports,
            self._access,
            self.options,
        )
        watcher = [sys.executable, "-I", guard.__file__, str(os.getpid())]
        watcher += [
            str(command.stop_grace_s(self.options)),
            folder.shm_prefix,
            str(folder.path),
            str(self._stack_bytes),
        ]
        variables = {**environment(folder.installation, os.environ), RESTARTS: str(self._restarts_folder(folder))}
        with open_log(folder.log) as log:
            self._log_limit = LogLimit(folder.log, KEPT_LIMIT if self._kept_log else WORK_LIMIT, begin=log.tell())
            self._log_limit.start()
            self._guard = subprocess.Popen(
                [*watcher, "--", *program],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,  # a terminal's Ctrl-C is for the caller, who stops us
            )

    @staticmethod
    def _restarts_folder(folder: WorkFolder) -> Path:
        return folder.path / "restarts"

    def _watch(self) -> None:
        """Begin what has to be done while it runs."""
        assert self._folder is not None
        self._gave_up = None
        self._supervisor = Supervisor(
            Processes(self._folder.shm_prefix),
            ModelRestart(self._reachable_host, self.ports.http, self.control_headers),
            Restarts(self._restarts_folder(self._folder)),
            self.notices.append,
            self._give_up,
        )
        self._supervisor.start()

    def _give_up(self, reason: str) -> None:
        if self.poll() is None:
            self._gave_up = reason
            self._end(guard.KILL_NOW)

    def _wait_until_ready(self, deadline: float) -> None:
        expected = command.expected_services(self.options)
        answered = False
        while time.monotonic() < deadline:
            exited = self.poll() is not None
            log = self.logs()
            if exited or diagnosis.has_given_up(log):
                raise self._death(log)
            if answered:
                return
            # The log first: it tells this server's ports from another's that was faster. Triton
            # writes "Started" a moment before it sees that a port is taken: hence one more look.
            answered = expected <= set(diagnosis.started_services(log)) and self._answers(expected)
            time.sleep(_POLL_S)
        raise self._timeout(self.logs())

    def _answers(self, expected: set[str]) -> bool:
        host = self._reachable_host
        return health.is_ready(host, self.ports.http) and (
            "metrics" not in expected or health.metrics_answer(host, self.ports.metrics)
        )

    def _death(self, log: str) -> Exception:
        taken = diagnosis.taken_port(log)
        if taken is not None:
            return _PortLostError(*taken)
        wrong = diagnosis.wrong_option(log)
        if wrong is not None:
            return InvalidOption(
                f"tritonserver does not take an option given after the --: {wrong}. tritonserver --help lists them."
            )
        reasons = diagnosis.failed_models(log)
        if reasons:
            return ModelsFailed(diagnosis.failed_models_text(reasons), reasons)
        return ServerDied(self.death_notice(log))

    def _timeout(self, log: str) -> ServeError:
        late = f"Triton was not ready within {self.timeout_s:g} s"
        reasons = diagnosis.failed_models(log)
        if reasons:
            return ModelsFailed(f"{late}. {diagnosis.failed_models_text(reasons)}", reasons)
        loading = diagnosis.loading_models(log)
        still = f" and still loading {', '.join(loading)}" if loading else ""
        return StartTimeout(
            f"{late}{still}. Large models need longer: raise --timeout-s. "
            f"--log-file PATH keeps the whole log.\n{diagnosis.last_words(log)}"
        )

    def death_notice(self, log: str | None = None) -> str:
        """What is known about a tritonserver that ended by itself, or that the supervisor ended.

        Args:
            log: Triton's log. None reads it.
        """
        if self._gave_up is not None:
            return self._gave_up
        words = diagnosis.last_words(self.logs() if log is None else log)
        return (
            f"tritonserver ended with exit code {self.poll()}. Its last words (--log-file PATH "
            f"keeps the whole log):\n{words}"
        )


class _PortLostError(Exception):
    """Another process bound a port between its choice and Triton's bind."""

    def __init__(self, service: str, port: int):
        super().__init__(f"{service} port {port} was taken")
        self.service = service
        self.port = port
