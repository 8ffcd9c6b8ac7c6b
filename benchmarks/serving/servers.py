"""The servers under test: how each is started, asked and watched."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.load.requests import Protocol, kserve, plain_json
from benchmarks.serving import bundles
from benchmarks.serving.bundles import NAME
from benchmarks.serving.checkpoint import K
from benchmarks.serving.peers import write_peers
from benchmarks.support import processor_time
from benchmarks.support.own_process import ROOT, module_command
from nextitem_client import Client
from nextitem_server import TritonServer

READY_S = 120.0


@dataclasses.dataclass(frozen=True)
class Running:
    """A server that answers. processes: all that belong to it, by id with their names."""

    name: str
    port: int
    protocol: Protocol
    processes: dict[int, str]

    def busy_us(self) -> float:
        """Processor time of the whole server so far."""
        return sum(map(processor_time.busy_us, self.processes))

    def memory_mb(self) -> float:
        """What it holds in memory, shared pages divided among those that share them."""
        return sum(map(processor_time.memory_mb, self.processes))


class Workplace:
    """The run, and the folders that servers start from; each made once."""

    def __init__(self, run: Path, folder: Path) -> None:
        self.run, self.folder = run, folder

    def bundle(self, layout: str, format_name: str, instances: int = 1) -> Path:
        """Our bundle's repository."""
        return bundles.export(self.run, self.folder, layout, format_name, instances)

    def signature(self) -> dict[str, object]:
        """What the bundle understands, as its clients read it."""
        (manifest,) = self.bundle("fused", "onnx").glob(f"{NAME}/*/bundle.json")
        return json.loads(manifest.read_text(encoding="utf-8"))["request"]

    def retrieval(self, format_name: str) -> Path:
        """The version folder of the bundle's retrieval step."""
        (folder,) = self.bundle("ensemble", format_name).glob(f"{NAME}_retrieval/*/step.json")
        return folder.parent

    def peer(self) -> Path:
        """What the peers serve from."""
        folder = self.folder / f"peer-{self.run.name}-{K}"
        if not (folder / "peer.json").exists():
            write_peers(self.run, folder, K)
        return folder


Start = Callable[[Workplace], AbstractContextManager[Running]]


@dataclasses.dataclass(frozen=True)
class Target:
    """One entry of the table. quick, smoke: whether these measure it too. answers: whether its answers are the model's."""

    title: str
    start: Callable[[str, Workplace], AbstractContextManager[Running]]
    quick: bool = True
    answers: bool = True
    smoke: bool = False


@contextlib.contextmanager
def triton(name: str, repository: Path, options: Sequence[str] = ()) -> Iterator[Running]:
    """A Triton on this repository, its only nextitem model asked over HTTP."""
    before = set(processor_time.process_tree(os.getpid()))
    with TritonServer(repository, options=options, timeout_s=READY_S) as server:
        with Client(server.http_url) as client:
            protocol = kserve(client.model, client.signature, K)
        yield Running(name, server.ports.http, protocol, _started_since(before))


@contextlib.contextmanager
def fastapi(name: str, arguments: Sequence[str | Path]) -> Iterator[Running]:
    """fastapi_app.py as a process."""
    before = set(processor_time.process_tree(os.getpid()))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    kind, folder, *more = arguments
    command = module_command("benchmarks.serving.fastapi_app", kind, folder, port, *more)
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        _wait_until_it_answers(process, port)
        yield Running(name, port, plain_json(), _started_since(before))
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/")
            connection.getresponse()  # 404: it is there
            return
        time.sleep(0.1)
    raise RuntimeError(f"the FastAPI server did not answer within {READY_S:g} s, exit code {process.poll()}")


def _started_since(before: set[int]) -> dict[int, str]:
    return {pid: name for pid, name in processor_time.process_tree(os.getpid()).items() if pid not in before}


def _ours(
    layout: str, format_name: str, instances: int = 1
) -> Callable[[str, Workplace], AbstractContextManager[Running]]:
    return lambda name, work: triton(name, work.bundle(layout, format_name, instances))


def _peer(kind: str, format_name: str | None) -> Callable[[str, Workplace], AbstractContextManager[Running]]:
    def start(name: str, work: Workplace) -> AbstractContextManager[Running]:
        retrieval = ["--bundle", work.retrieval(format_name)] if format_name else []
        return fastapi(name, [kind, work.peer(), *retrieval])

    return start


TARGETS: dict[str, Target] = {
    "fused": Target("nextitem, fused", _ours("fused", "onnx"), smoke=True),
    "fused_two": Target("nextitem, fused, two processes", _ours("fused", "onnx", instances=2)),
    "fused_torchscript": Target("nextitem, fused, TorchScript", _ours("fused", "torchscript"), quick=False),
    "ensemble": Target("nextitem, ensemble", _ours("ensemble", "onnx")),
    "ensemble_torchscript": Target("nextitem, ensemble, TorchScript", _ours("ensemble", "torchscript"), quick=False),
    "nvtabular": Target(
        "NVTabular and TorchScript in Triton",
        lambda name, work: triton(name, bundles.write_nvtabular(work.folder, work.signature(), work.peer())),
        smoke=True,
    ),
    "fastapi_torch": Target("FastAPI, TorchScript", _peer("torch", "torchscript")),
    "fastapi_ort": Target("FastAPI, ONNX Runtime", _peer("onnx", "onnx"), smoke=True),
    "fastapi_torch_lean": Target("FastAPI, TorchScript, no filters", _peer("torch", None), quick=False, smoke=True),
    "fastapi_ort_lean": Target("FastAPI, ONNX Runtime, no filters", _peer("onnx", None), quick=False),
    "noop_ensemble": Target(
        "three no-op models in Triton",
        lambda name, work: triton(name, bundles.write_noop_ensemble(work.folder, work.bundle("ensemble", "onnx"))),
        answers=False,
    ),
    "noop": Target(
        "no-op model in Triton",
        lambda name, work: triton(name, bundles.write_noop(work.folder, work.signature())),
        answers=False,
        smoke=True,
    ),
}
