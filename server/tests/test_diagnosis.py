import io

import pytest

from nextitem_server import diagnosis
from nextitem_server.console import LogFollower

FAILED = (
    "E1120 19:07:11.054640 15631 model_lifecycle.cc:642] \"failed to load 'bad' version 1: "
    'Internal: ValueError: first line\\nsecond line\\n\\nAt:\\n  /repo/bad/1/model.py(4): f\\n"\n'
)
NO_GPU = (
    "W1120 19:07:09.330547 15631 pinned_memory_manager.cc:273] "
    '"Unable to allocate pinned system memory, pinned memory pool will not be available: CUDA driver version is '
    'insufficient for CUDA runtime version"\n'
)
#: What an ensemble says at its start and at its first request.
NO_GPU_LATER = (
    'E1130 06:31:26.460844 10569 ensemble_scheduler.cc:1468] "unable to create stream for shop: CUDA driver version is '
    'insufficient for CUDA runtime version"',
    'W1130 06:31:31.943775 10569 pinned_memory_manager.cc:170] "failed to allocate pinned system memory: no pinned memory '
    'pool, falling back to non-pinned system memory"',
    *NO_GPU.splitlines(),
)


NO_DRIVER = "CUDA driver version is insufficient for CUDA runtime version"
NO_DEVICE = "no CUDA-capable device is detected"


@pytest.mark.parametrize("reason", [NO_DRIVER, NO_DEVICE])
@pytest.mark.parametrize("line", NO_GPU_LATER)
def test_what_every_machine_without_a_gpu_says_is_not_shown(line, reason):
    """Without a driver, and with one."""
    assert not diagnosis.worth_showing(line.replace(NO_DRIVER, reason))


@pytest.mark.parametrize("reason", ["out of memory", "initialization error", "unspecified launch failure"])
@pytest.mark.parametrize("line", [line for line in NO_GPU_LATER if NO_DRIVER in line])
def test_what_a_gpu_that_is_there_says_is_shown(line, reason):
    assert diagnosis.worth_showing(line.replace(NO_DRIVER, reason))


def test_a_model_that_finds_no_gpu_is_shown():
    assert diagnosis.worth_showing(FAILED.splitlines()[0].replace("first line", NO_DEVICE))


def test_the_reason_is_the_exception_without_its_places():
    assert diagnosis.failed_models(FAILED) == {"bad": "ValueError: first line\nsecond line"}


def test_a_syntax_error_in_config_pbtxt_is_quoted():
    log = (
        '[libprotobuf ERROR /tmp/text_format.cc:337] Error parsing: 1:19: no field named "foo".\n'
        'E1120 19:21:16.088606 31452 model_repository_manager.cc:1460] "Poll failed for model '
        "directory 'shop': failed to read text proto from /r/shop/config.pbtxt\"\n"
    )
    (reason,) = diagnosis.failed_models(log).values()
    assert "config.pbtxt" in reason
    assert 'no field named "foo"' in reason


def test_a_missing_module_gets_a_cure():
    text = diagnosis.failed_models_text({"shop": "ModuleNotFoundError: No module named 'faiss'"})
    assert "Install that package" in text


def test_taken_port():
    log = "E1 \"failed to start HTTP service: Unavailable - Socket '127.0.0.1:8000' already in use \""
    assert diagnosis.taken_port(log) == ("http", 8000)
    assert diagnosis.taken_port("nothing") is None


def test_started_services():
    log = (
        'I1 "Started GRPCInferenceService at 0.0.0.0:8001"\n'
        'I1 "Started HTTPService at 127.0.0.1:8000"\nI1 "Started Metrics Service at 127.0.0.1:8002"'
    )
    assert diagnosis.started_services(log) == {"grpc": 8001, "http": 8000, "metrics": 8002}


def test_last_words():
    assert diagnosis.last_words("") == "(its log is empty)"
    assert diagnosis.last_words("sh: tritonserver: libfoo.so: no such file\n").endswith("file")
    assert diagnosis.last_words(NO_GPU + "error: creating server: Internal\n") == ("creating server: Internal")


def test_the_console_shows_what_someone_can_act_on(tmp_path):
    log = tmp_path / "log"
    shown, everything = io.StringIO(), io.StringIO()
    followers = [LogFollower(log, shown), LogFollower(log, everything, verbose=True)]
    for follower in followers:
        follower.show_new_lines()  # not there yet
    log.write_text(NO_GPU + FAILED[:40])
    for follower in followers:
        follower.show_new_lines()
    assert shown.getvalue() == ""
    log.write_text(NO_GPU + FAILED + 'I1120 19:07:11.1 1 a.cc:1] "fine"\n')
    for follower in followers:
        follower.show_new_lines()
    assert shown.getvalue() == FAILED
    assert everything.getvalue() == log.read_text()
