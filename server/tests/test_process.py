import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nextitem_server import (
    InvalidOption,
    ModelsFailed,
    PortInUse,
    Ports,
    RepositoryError,
    ServeError,
    StartTimeout,
    TritonServer,
)
from nextitem_server import ports as ports_module

FAST = ("--disable-auto-complete-config",)


@contextmanager
def running(repository: Path, **arguments) -> Iterator[TritonServer]:
    """A server whose orderly end is not what the test is about: that takes Triton two seconds."""
    server = TritonServer(repository, **arguments).start()
    try:
        yield server
    finally:
        server.stop(kill=True)


def shared_memory(server: TritonServer) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith(shm_prefix(server))]


def shm_prefix(server: TritonServer) -> str:
    match = re.search(r'"shm-region-prefix-name":"([^"]+)"', server.logs())
    assert match, server.logs()
    return match[1]


def get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return answer.read()


def eventually(condition, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_serves_and_leaves_nothing_behind(bundle, private_tmp, processes):
    with TritonServer(bundle, options=FAST) as server:
        assert json.loads(get(f"{server.http_url}/v2/models/shop"))["name"] == "shop"
        assert b"nv_inference_request_success" in get(server.metrics_url)
        with socket.create_connection(("127.0.0.1", server.ports.grpc), timeout=5):
            pass
        assert server.grpc_url == f"grpc://127.0.0.1:{server.ports.grpc}"
        assert [model.name for model in server.models() if model.called] == ["shop"]
        assert {model.name for model in server.models()} == {"shop", "shop_features"}
        assert server.poll() is None
        assert server.log_path.is_file()
        assert shared_memory(server)
        assert any("triton_python_backend_stub" in line for line in processes().values())
    assert processes() == {}
    assert shared_memory(server) == []
    assert list(private_tmp.iterdir()) == []
    assert "Started HTTPService" in server.logs(), "the log stays readable after the stop"


def test_listens_on_the_given_host_only(bundle, private_tmp):
    with running(bundle, options=FAST) as server:
        tables = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        listening = re.findall(r"([0-9A-F]+):([0-9A-F]{4}) 0+:0000 0A", tables)
        for _, port in server.ports.items():
            addresses = {address for address, number in listening if int(number, 16) == port}
            # IPv4, or IPv4 in an IPv6 socket, as gRPC does
            assert addresses
            assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_stops_when_the_body_raises(bundle, private_tmp, processes):
    with pytest.raises(ZeroDivisionError), TritonServer(bundle, options=FAST):
        _ = 1 / 0
    assert processes() == {}
    assert list(private_tmp.iterdir()) == []


@pytest.mark.parametrize("victim", ["the caller", "the guard"])
def test_nothing_outlives_a_kill(bundle, private_tmp, processes, victim):
    program = (
        "import sys, time; from nextitem_server import TritonServer\n"
        f"server = TritonServer(sys.argv[1], options={FAST!r}).start()\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", program, str(bundle)], stdout=subprocess.PIPE, text=True)
    assert caller.stdout.readline() == "ready\n"
    running = processes()
    prefix = next(match[1] for line in running.values() if (match := re.search(r"prefix-name=(\S+)", line)))
    guard = next(pid for pid, line in running.items() if "guard.py" in line)
    os.kill(caller.pid if victim == "the caller" else guard, signal.SIGKILL)
    try:
        assert eventually(lambda: processes() == {}), processes()
        if victim == "the caller":
            assert eventually(lambda: list(private_tmp.iterdir()) == [])
            assert [name for name in os.listdir("/dev/shm") if name.startswith(prefix)] == []
    finally:
        caller.kill()
        caller.communicate()
        for region in Path("/dev/shm").glob(f"{prefix}*"):
            region.unlink()


def test_several_servers_at_once(bundle, private_tmp):
    started: list[TritonServer] = []
    threads = [
        threading.Thread(target=lambda: started.append(TritonServer(bundle, options=FAST).start())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        time.sleep(0.2)  # the starting threads are gone: the servers must not be
        assert [server.poll() for server in started] == [None, None]
        assert len({port for server in started for _, port in server.ports.items()}) == 6
        assert not set(shared_memory(started[0])) & set(shared_memory(started[1]))
    finally:
        for server in started:
            server.stop(kill=True)


@pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
def test_another_port_when_a_free_one_was_lost(bundle, private_tmp, monkeypatch, service):
    """Triton finds a port taken that was free a moment ago: all are chosen anew."""
    choose = ports_module.choose
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        calls = []

        def choose_badly_once(host: str, wanted: Ports) -> Ports:
            chosen = choose(host, wanted)
            calls.append(chosen)
            return Ports(**{**dict(chosen.items()), service: taken}) if len(calls) == 1 else chosen

        monkeypatch.setattr(ports_module, "choose", choose_badly_once)
        with running(bundle, options=FAST) as server:
            assert len(calls) == 2
            assert taken not in dict(server.ports.items()).values()


def test_a_fixed_port_that_is_taken(bundle, private_tmp, processes):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"Port {port} .* --grpc-port"):
            TritonServer(bundle, grpc_port=port).start()
    assert processes() == {}


def test_a_failed_model_says_why_in_its_own_words(add_model, private_tmp, processes):
    add_model("good")
    repository = add_model("bad", "failing")
    with pytest.raises(ModelsFailed) as caught:
        TritonServer(repository).start()
    assert caught.value.reasons == {"bad": "ValueError: step.json has format 2; this runtime reads 1"}
    assert str(caught.value).startswith("Model bad could not be loaded: ValueError: step.json")
    assert "\n" not in str(caught.value)
    assert processes() == {}
    assert list(private_tmp.iterdir()) == []


def test_a_model_without_its_file_is_no_endless_wait(add_model, private_tmp):
    repository = add_model("hollow", "missing")
    with pytest.raises(ModelsFailed, match=r"Model hollow .*not found in '.*hollow/1/model.py'"):
        TritonServer(repository, timeout_s=30).start()


def test_a_native_bundle_on_the_embedded_server(add_model, private_tmp):
    repository = add_model("native", "missing", backend="onnxruntime")
    with pytest.raises(ModelsFailed, match=r"--server PATH.*--runtime python"):
        TritonServer(repository).start()


def test_not_ready_in_time(add_model, private_tmp, processes):
    repository = add_model("slow", "slow")
    before = time.monotonic()
    with pytest.raises(StartTimeout, match=r"within 2 s and still loading slow.*--timeout-s"):
        TritonServer(repository, timeout_s=2.0, options=FAST).start()
    assert time.monotonic() - before < 8.0
    assert processes() == {}


def test_an_empty_repository_may_be_filled_later(tmp_path, private_tmp):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RepositoryError):
        TritonServer(empty).start()
    with running(empty, options=["--model-control-mode=explicit"]) as server:
        assert server.models() == []


def test_an_unknown_option_of_tritonserver_is_shown(bundle, private_tmp):
    with pytest.raises(InvalidOption, match="unrecognized option '--no-such-option=1'"):
        TritonServer(bundle, options=["--no-such-option=1"]).start()


def test_a_reserved_option(bundle):
    with pytest.raises(InvalidOption, match=r"--http-address .* Use --host"):
        TritonServer(bundle, options=["--http-address=0.0.0.0"]).start()


def test_the_log_may_be_kept(bundle, tmp_path, private_tmp):
    kept = tmp_path / "kept.log"
    kept.write_text("of an earlier start\n")
    with running(bundle, options=FAST, log_path=kept) as server:
        assert kept.read_bytes()[server.log_begin :] != b""
    assert kept.read_text().startswith("of an earlier start\n")
    assert "Started HTTPService" in kept.read_text()
    assert "of an earlier start" not in server.logs()


def test_a_log_that_cannot_be_written(bundle, tmp_path, private_tmp):
    with pytest.raises(InvalidOption, match=r"log file .*none/kept.log cannot be written \(No such"):
        TritonServer(bundle, log_path=tmp_path / "none" / "kept.log").start()
    assert list(private_tmp.iterdir()) == []


def test_start_twice(bundle, private_tmp):
    with running(bundle, options=FAST) as server, pytest.raises(ServeError, match="already"):
        server.start()


def test_an_installed_server(bundle, private_tmp, tmp_path):
    """--server PATH with the wheel's own binary, laid out as NVIDIA's image has it."""
    from nextitem_server.launch.layout import environment
    from nextitem_server.launch.locate import locate

    embedded = locate()
    root = tmp_path / "opt"
    (root / "bin").mkdir(parents=True)
    (root / "lib").symlink_to(embedded.library_folders[0])
    (root / "backends" / "python").mkdir(parents=True)
    for file in [*embedded.python_backend.iterdir(), embedded.python_stub]:
        if file.is_file():
            (root / "backends" / "python" / file.name).symlink_to(file)
    program = root / "bin" / "tritonserver"
    libraries = environment(embedded, {})["LD_LIBRARY_PATH"]
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {embedded.binary} "$@"\n')
    program.chmod(0o755)
    with running(bundle, server=program, options=FAST) as server:
        assert str(root / "backends") in server.logs()
        assert server.poll() is None
