"""The command is killed while it trains, goes on, and ends as if nothing had been."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from nextitem_training import cli
from nextitem_training.loop.training_folder import TrainingFolder
from nextitem_training.run_directory import RunDirectory

CONFIG = """
[data]
window = 4
holdout_days = 3
validation_days = 3
log_continuous = ["price"]
[model]
d_model = 8
heads = 2
layers = 1
[training]
epochs = 6
batch_size = 16
schedule = "one-cycle"
checkpoint_steps = 7
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("resuming")
    (path / "config.toml").write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def command(folder, clicks_path):
    return ["--data", str(clicks_path), "--config", str(folder / "config.toml"), "--output"]


@pytest.fixture(scope="module")
def unbroken(folder, command):
    assert cli.main([*command, str(folder / "unbroken")]) == 0
    return RunDirectory.open(folder / "unbroken")


def started(arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-m", "nextitem_training", *arguments], env=environment)


def wait_for(process, came):
    """Until `came` gives a value that is true, which it returns."""
    until = time.monotonic() + 300
    while not (found := came()):
        assert process.poll() is None, "the command ended by itself"
        assert time.monotonic() < until
        time.sleep(0.002)
    return found


def checkpoint_within_an_epoch(state, steps_of_epoch):
    newest = state.newest
    return newest if newest and newest.step > steps_of_epoch and newest.step % steps_of_epoch else None


def assert_same(run, unbroken):
    expected, found = load_file(unbroken.path / "model.safetensors"), load_file(run.path / "model.safetensors")
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name
    for section in ("metrics", "training"):
        assert run.metrics()[section] == unbroken.metrics()[section]
    logs = [
        [
            (line["epoch"], line["validation"])
            for line in map(json.loads, (path / "training_log.jsonl").read_text().splitlines())
            if "validation" in line
        ]
        for path in (run.path, unbroken.path)
    ]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 6


def test_a_killed_training_goes_on_to_the_same_weights_bit_for_bit(command, folder, unbroken, capfd):
    output = folder / "killed"
    state = TrainingFolder.beside(output)
    epoch = unbroken.metrics()["training"]["steps"] // 6
    process = started([*command, str(output)])
    newest = wait_for(process, lambda: checkpoint_within_an_epoch(state, epoch))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    assert newest.step < unbroken.metrics()["training"]["steps"]

    assert cli.main([*command, str(output)]) == 2
    assert "Pass --resume to go on with it or --overwrite to begin anew" in capfd.readouterr().err
    assert cli.main([*command, str(output), "--resume", "--epochs", "9"]) == 2
    assert "[training] epochs is 6 there and 9 here" in capfd.readouterr().err

    assert cli.main([*command, str(output), "--resume"]) == 0
    assert_same(RunDirectory.open(output), unbroken)
    assert not state.path.exists()


@pytest.mark.slow
def test_a_training_that_is_asked_to_stop_says_how_to_go_on(command, folder, unbroken, capfd):
    output = folder / "interrupted"
    state = TrainingFolder.beside(output)
    process = started([*command, str(output)])
    wait_for(process, lambda: state.newest)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    step = state.newest.step
    error = capfd.readouterr().err
    assert (
        f"interrupted; {output} is as it was; give the same command with --resume to go on after step {step}" in error
    )
    assert "Traceback" not in error
    assert cli.main([*command, str(output), "--resume"]) == 0
    assert_same(RunDirectory.open(output), unbroken)


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_comes_to_the_same_end(command, folder, unbroken):
    output = folder / "often"
    state = TrainingFolder.beside(output)
    moments = random.Random(1)
    for _ in range(3):
        before = state.newest.step if state.newest else 0
        process = started([*command, str(output), "--resume"])
        wait_for(process, lambda before=before: state.newest and state.newest.step > before + 25)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert cli.main([*command, str(output), "--resume"]) == 0
    assert_same(RunDirectory.open(output), unbroken)
