import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nextitem_server import TritonServer, health
from nextitem_server.supervision.supervise import Process, Processes, Restarts, process_of

FAST = ("--disable-auto-complete-config",)
STUB = "/tmp/w/backends/python/triton_python_backend_stub"
NUMBERED = (
    STUB,
    "/models/shop_fused/3/model.py",
    "nextitem-1-region",
    "1048576",
    "1048576",
    "77",
    "/tmp/w/backends/python",
    "336",
)
# Fails as often as the file beside it says: a load for want of memory may.
BRITTLE = """
from pathlib import Path
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        left = Path(args["model_repository"]) / "failures"
        failures = int(left.read_text()) if left.exists() else 0
        if failures:
            left.write_text(str(failures - 1))
            raise MemoryError("no memory for the weights")

    def execute(self, requests):
        x = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("y", values)]) for values in x]
"""
# Takes 1 GB for an answer, and aborts as native code does that gets none: std::terminate after std::bad_alloc.
GREEDY = """
import os
import numpy
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        try:
            numpy.ones(1 << 27)
        except MemoryError:
            os.abort()
        x = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("y", values)]) for values in x]
"""
QUESTION = b'{"inputs": [{"name": "x", "shape": [2], "datatype": "INT64", "data": [3, 4]}]}'


def status_of(server: TritonServer, model: str) -> int:
    return health.request("127.0.0.1", server.ports.http, "POST", f"/v2/models/{model}/infer", 10, body=QUESTION)[0]


def process_id(processes, model: str) -> int:
    return next(number for number, line in processes().items() if f"/{model}/1/model.py" in line and "_stub " in line)


def eventually(condition, timeout_s: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def told(server: TritonServer, words: str) -> bool:
    return any(words in notice for notice in server.notices)


@pytest.fixture
def brittle(add_model) -> Path:
    repository = add_model("brittle")
    (repository / "brittle" / "1" / "model.py").write_text(BRITTLE)
    return repository


def test_a_killed_process_is_started_again_each_time(bundle, private_tmp, processes):
    with TritonServer(bundle, options=FAST) as server:
        for number in (1, 2, 3):
            os.kill(process_id(processes, "shop"), signal.SIGKILL)
            assert eventually(lambda number=number: told(server, f"restarts so far: {number}")), list(server.notices)
            assert status_of(server, "shop") == 200
        assert [notice for notice in server.notices if "shop_features" in notice] == []
        assert server.notices[0] == "the process of shop_0_0 died (killed, or out of memory?); starting shop anew …"
        assert server.poll() is None


def test_what_cannot_be_started_beside_the_old_one_is_started_from_scratch(brittle, private_tmp, processes):
    with TritonServer(brittle, options=FAST) as server:
        (brittle / "brittle" / "failures").write_text("1")
        os.kill(process_id(processes, "brittle"), signal.SIGKILL)
        assert eventually(lambda: told(server, "brittle answers again after")), list(server.notices)
        assert status_of(server, "brittle") == 200
        # … and is watched as before
        os.kill(process_id(processes, "brittle"), signal.SIGKILL)
        assert eventually(lambda: told(server, "restarts so far: 2")), list(server.notices)
        assert status_of(server, "brittle") == 200


def test_the_server_ends_with_the_reason_where_a_process_cannot_be_started_again(brittle, private_tmp, processes):
    program = [sys.executable, "-m", "nextitem_server.cli", "--model-repository", str(brittle)]
    program += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--", *FAST]
    served = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not served.stdout.readline().startswith("Ctrl-C"):
        assert served.poll() is None
    (brittle / "brittle" / "failures").write_text("9")
    os.kill(process_id(processes, "brittle"), signal.SIGKILL)
    _, errors = served.communicate(timeout=30)
    assert served.returncode == 1
    assert (
        "nextitem-serve: the process of brittle_0_0 died, and brittle could not be started anew in 3 attempts: "
        in errors
    )
    assert "no memory for the weights" in errors
    assert "The server ends, so that what supervises it starts it again." in errors
    assert processes() == {}


def test_a_model_that_is_unloaded_in_order_is_left_alone(bundle, private_tmp, processes):
    with TritonServer(bundle, options=FAST) as server:
        for verb in ("unload", "load"):
            path = f"/v2/repository/models/shop/{verb}"
            assert (
                health.request("127.0.0.1", server.ports.http, "POST", path, 30, server.control_headers, b"{}")[0]
                == 200
            )
            time.sleep(2.0)
        assert list(server.notices) == []
        os.kill(process_id(processes, "shop"), signal.SIGKILL)
        assert eventually(lambda: told(server, "shop answers again after")), list(server.notices)


def test_stopping_does_not_wait_for_a_dead_process(bundle, private_tmp, processes):
    server = TritonServer(bundle, options=FAST).start()
    os.kill(process_id(processes, "shop"), signal.SIGKILL)
    assert status_of(server, "shop") == 500  # from then on Triton takes 15 s to let go of it
    assert eventually(lambda: told(server, "shop answers again after"))
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5.0
    assert processes() == {}


def test_a_process_that_is_out_of_memory_is_replaced(add_model, private_tmp, processes):
    repository = add_model("greedy")
    (repository / "greedy" / "1" / "model.py").write_text(GREEDY)
    with TritonServer(repository, options=FAST) as server:
        assert status_of(server, "greedy") == 200
        poor = process_id(processes, "greedy")
        size = int(Path(f"/proc/{poor}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(poor, resource.RLIMIT_AS, (size + (64 << 20), -1))
        assert status_of(server, "greedy") == 500
        assert eventually(lambda: told(server, "greedy answers again after")), list(server.notices)
        assert status_of(server, "greedy") == 200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((*NUMBERED, "shop_fused_0_1", "DEFAULT"), Process("shop_fused", "3", "shop_fused_0_1")),
        ((*NUMBERED, "shop_fused", "DEFAULT"), None),  # completes a configuration, and ends
        (("/bin/tritonserver", *NUMBERED[1:], "shop_fused_0_1"), None),
        ((STUB,), None),
    ],
)
def test_what_a_command_line_says(arguments, expected):
    assert process_of(list(arguments)) == expected


def test_only_the_living_processes_of_this_server_are_found(tmp_path):
    lines = {
        "10": ("sh",),
        "11": (*NUMBERED, "shop_fused_0_0", "DEFAULT"),
        "12": (STUB, "/models/shop/1/model.py", "nextitem-2-region", "shop_0_0"),
        "13": (),  # dead, and not yet buried
        "self": (*NUMBERED, "shop_fused_0_9"),
    }
    for name, arguments in lines.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cmdline").write_bytes(b"\0".join(one.encode() for one in (*arguments, "")))
    found = Processes("nextitem-1-", tmp_path)
    assert [found.alive() for _ in range(2)] == [{Process("shop_fused", "3", "shop_fused_0_0")}] * 2
    (tmp_path / "11" / "cmdline").write_bytes(b"")
    assert found.alive() == set()
    assert Processes("nextitem-1-", tmp_path / "none").alive() == set()


def test_a_process_whose_line_is_still_empty_is_found_later(tmp_path):
    found = Processes("nextitem-1-", tmp_path)
    assert found.alive() == set()
    (tmp_path / "11").mkdir()
    line = tmp_path / "11" / "cmdline"
    line.write_bytes(b"")  # between the steps of exec
    assert found.alive() == set()
    line.write_bytes(b"\0".join(one.encode() for one in (*NUMBERED, "shop_fused_0_0", "DEFAULT", "")))
    assert found.alive() == {Process("shop_fused", "3", "shop_fused_0_0")}


def test_restarts_are_counted_in_files(tmp_path):
    restarts = Restarts(tmp_path / "restarts")
    assert [restarts.add("shop"), restarts.add("shop"), restarts.add("shop_items")] == [1, 2, 1]
    assert {file.name: file.read_text() for file in (tmp_path / "restarts").iterdir()} == {
        "shop": "2",
        "shop_items": "1",
    }
