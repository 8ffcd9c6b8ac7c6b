import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

ANY_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
FAST = ("--", "--disable-auto-complete-config")
ENSEMBLE = """
name: "whole" platform: "ensemble" max_batch_size: 0
input [ { name: "x" data_type: TYPE_INT64 dims: [-1] } ]
output [ { name: "y" data_type: TYPE_INT64 dims: [-1] } ]
ensemble_scheduling { step [ {
    model_name: "step" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }
} ] }
"""


def serve(*arguments: str, **more) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "nextitem_server.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def lines_until(process: "subprocess.Popen[str]", last: str) -> list[str]:
    lines = []
    while not lines or not lines[-1].startswith(last):
        line = process.stdout.readline()
        assert line, process.communicate()
        lines.append(line.rstrip())
    return lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_says_where_and_what_then_stops_when_asked(bundle, private_tmp, processes, number):
    process = serve("--model-repository", str(bundle), *ANY_PORTS, *FAST)
    lines = lines_until(process, "Ctrl-C")
    assert lines[0] == "ready: shop, shop_features"
    assert lines[1] == "ask:   shop"
    assert [line.split()[0] for line in lines[2:5]] == ["HTTP", "gRPC", "metrics"]
    http = lines[2].split()[1]
    assert f"--url {http} --model shop" in lines[5]
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "stopping" in errors
    assert "CUDA" not in errors, "no warnings about a missing GPU"
    assert processes() == {}
    assert list(private_tmp.iterdir()) == []


def test_json_once_it_is_ready_and_nothing_else(bundle, private_tmp):
    process = serve("--model-repository", str(bundle), "--json", "--quiet", *ANY_PORTS, *FAST)
    found = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert (found["ready"], found["called"]) == (["shop", "shop_features"], ["shop"])
    assert all(found[name].startswith("http://") for name in ("http_url", "metrics_url"))
    assert "grpc_url" in found
    assert (out, errors) == ("", "")


def test_several_repositories_are_served(bundle, tmp_path, private_tmp):
    other = tmp_path / "more books"
    other.mkdir()
    (bundle / "shop_features").rename(other / "shop_features")
    process = serve("--model-repository", str(bundle), "--model-repository", str(other), *ANY_PORTS, *FAST)
    assert lines_until(process, "Ctrl-C")[:2] == ["ready: shop, shop_features", "ask:   shop"]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert f"loading the models in {bundle}, {other} " in errors


def test_a_name_in_two_repositories_is_refused(bundle, tmp_path, processes):
    other = tmp_path / "other"
    (other / "shop").mkdir(parents=True)
    (other / "shop" / "config.pbtxt").touch()
    process = serve("--model-repository", str(bundle), "--model-repository", str(other), *ANY_PORTS, *FAST)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"Model shop is in two of the model repositories, {bundle} and {other}" in errors
    assert "nextitem-export --name" in errors
    assert processes() == {}


def test_nothing_is_shown_about_a_missing_gpu(add_model, private_tmp):
    repository = add_model("step")
    (repository / "whole" / "1").mkdir(parents=True)
    (repository / "whole" / "config.pbtxt").write_text(ENSEMBLE)
    process = serve("--model-repository", str(repository), *ANY_PORTS, *FAST)
    url = lines_until(process, "Ctrl-C")[1].split()[1]
    body = b'{"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [7]}]}'
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/v2/models/whole/infer", data=body, timeout=5) as answer:
        assert answer.status == 200
    time.sleep(0.5)  # two looks at the log
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    said = [line.partition(":")[2] for line in errors.splitlines()]
    assert said == [f" loading the models in {repository} …", " stopping …"]


def test_ctrl_c_before_ready(add_model, private_tmp, processes):
    process = serve("--model-repository", str(add_model("slow", "slow")), *ANY_PORTS, *FAST)
    deadline = time.monotonic() + 10
    while not any("python_backend_stub" in line for line in processes().values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert processes() == {}
    assert list(private_tmp.iterdir()) == []


def test_a_server_that_dies_is_reported(bundle, private_tmp, processes):
    process = serve("--model-repository", str(bundle), *ANY_PORTS, *FAST)
    lines_until(process, "Ctrl-C")
    victim = next(pid for pid, line in processes().items() if "/bin/tritonserver" in line.split()[0])
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "tritonserver ended with exit code 137" in errors
    assert processes() == {}


def test_a_failed_model(add_model, private_tmp):
    process = serve("--model-repository", str(add_model("bad", "failing")), *ANY_PORTS)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.splitlines()[1:] == [
        "nextitem-serve: Model bad could not be loaded: ValueError: step.json has format 2; this runtime reads 1"
    ]


def test_wrong_calls(bundle, tmp_path, private_tmp):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        calls = {
            "nextitem-export --run": ("--model-repository", str(tmp_path / "none")),
            f"Port {port}": ("--model-repository", str(bundle), "--http-port", port),
            "no executable": ("--model-repository", str(bundle), "--server", "/none", *ANY_PORTS),
            "Use --host": ("--model-repository", str(bundle), "--", "--grpc-address=::"),
        }
        started = {expected: serve(*call) for expected, call in calls.items()}
        for expected, process in started.items():
            _, errors = process.communicate(timeout=20)
            assert process.returncode == 2, errors
            assert expected in errors
            assert "Traceback" not in errors


def test_an_empty_repository_is_waited_for_and_served_when_it_is_filled(bundle, tmp_path, private_tmp):
    empty = tmp_path / "empty"
    empty.mkdir()
    process = serve("--model-repository", str(empty), "--wait-for-models", *ANY_PORTS, *FAST)
    line = process.stderr.readline()
    assert f"{empty} holds no model. Export a trained model into it: nextitem-export --run" in line
    assert line.endswith("Waiting for it; serving starts by itself then.\n")
    time.sleep(0.5)
    assert process.poll() is None
    for model in bundle.iterdir():
        model.rename(empty / model.name)
    assert lines_until(process, "Ctrl-C")[1] == "ask:   shop"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "holds no model" not in errors, "said once"


def test_waiting_is_stopped_by_a_signal(tmp_path):
    process = serve("--model-repository", str(tmp_path), "--wait-for-models", *ANY_PORTS)
    assert "holds no model" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors


def test_an_api_is_opened(bundle, private_tmp):
    process = serve("--model-repository", str(bundle), "--open-api", "shared-memory", *ANY_PORTS, *FAST)
    url = lines_until(process, "Ctrl-C")[2].split()[1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/v2/systemsharedmemory/status", timeout=5) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


@pytest.mark.parametrize("closed", ["stderr", "stdout"])
def test_serving_goes_on_where_nobody_reads_the_console(bundle, private_tmp, processes, closed):
    process = serve("--model-repository", str(bundle), "--verbose", *ANY_PORTS, *FAST)
    url = lines_until(process, "HTTP")[-1].split()[1]
    getattr(process, closed).close()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(4):  # something to say each time: an unknown model, and a dead process
        with pytest.raises(urllib.error.HTTPError):
            opener.open(f"{url}/v2/models/none/config", timeout=5)
        time.sleep(0.3)
    os.kill(next(number for number, line in processes().items() if "/shop/1/model.py" in line), signal.SIGKILL)
    time.sleep(3)
    assert process.poll() is None
    with opener.open(f"{url}/v2/health/ready", timeout=5) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    process.stderr = process.stderr if closed != "stderr" else None
    process.stdout = process.stdout if closed != "stdout" else None
    process.communicate()


def few_files(hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))


def test_as_many_connections_as_the_hard_limit_allows(bundle, private_tmp):
    process = serve("--model-repository", str(bundle), *ANY_PORTS, *FAST, preexec_fn=lambda: few_files(2048))
    port = int(lines_until(process, "HTTP")[-1].rsplit(":", 1)[1])
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(350)]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as answer:
        assert answer.status == 200
    for one in idle:
        one.close()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert "file descriptor" not in errors


def test_out_of_file_descriptors_it_says_so_once_and_the_log_stays_small(bundle, private_tmp):
    process = serve("--model-repository", str(bundle), *ANY_PORTS, *FAST, preexec_fn=lambda: few_files(256))
    port = int(lines_until(process, "HTTP")[-1].rsplit(":", 1)[1])
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(350)]
    (folder,) = private_tmp.glob("nextitem-serve-*")
    sizes = []
    for _ in range(12):
        time.sleep(0.5)
        sizes.append(sum(file.stat().st_size for file in folder.glob("tritonserver.log*")))
    for one in idle:
        one.close()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert max(sizes) < 40 << 20, sizes  # 8 MB, the part before it, and what came since the last look
    assert errors.count("tritonserver has no file descriptor left") == 1
    assert len(errors) < 4000
