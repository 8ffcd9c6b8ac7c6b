"""torchrun starts two processes on this machine's processor; they come to what one process comes to."""

import os
import subprocess
import sys

import pytest
import torch

from nextitem_training import cli
from nextitem_training.loop import processes, workers
from nextitem_training.run_directory import RunDirectory

CONFIG = """
[data]
window = 4
holdout_days = 3
validation_days = 3
[model]
body = "gpt2"
pretraining = "clm"
d_model = 8
heads = 2
layers = 1
dropout = 0.0
initializer_range = 0.2
normalize = true
temperature = 0.1
[training]
epochs = 4
metric = "mrr@10"
batch_size = 32
gradient_accumulation = 2
learning_rate = 1e-2
"""
# Fails where process 0 judges the model after an epoch, while the other waits for it.
FAILING = """
import sys
from nextitem_training import cli, errors
from nextitem_training.loop import pieces_trainer
def fail(self, model):
    raise errors.DataError("The validation cannot be read.")
pieces_trainer.Validation.metrics = fail
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def command(tmp_path, clicks_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    return ["--data", str(clicks_path), "--config", str(tmp_path / "config.toml"), "--output"]


def torchrun(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    starting = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*starting, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.slow  # two more interpreters start
def test_two_processes_come_to_what_one_comes_to(command, tmp_path):
    done = torchrun("-m", "nextitem_training", *command, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Wrote") == 1, "process 0 alone writes and prints"
    assert cli.main([*command, str(tmp_path / "one")]) == 0
    one, two = (RunDirectory.open(tmp_path / name) for name in ("one", "two"))
    for ranker, metrics in one.metrics()["metrics"].items():
        assert two.metrics()["metrics"][ranker] == pytest.approx(metrics, abs=0.02), ranker
    assert two.metrics()["training"]["best_epoch"] == one.metrics()["training"]["best_epoch"]
    batch = {"item_id": torch.tensor([[4, 5, 6, 7], [9, 0, 0, 0], [14, 13, 2, 0]])}
    with torch.no_grad():
        scores = [run.load_model()(batch) for run in (one, two)]
    torch.testing.assert_close(*scores, atol=2e-3, rtol=0)
    assert one.metrics()["metrics"]["model"]["mrr@10"] > 0.7, "they have learnt something"
    assert not (tmp_path / ".two.training").exists()


@pytest.mark.slow
def test_what_process_0_refuses_ends_all_with_its_sentence(command, tmp_path):
    done = torchrun("-m", "nextitem_training", *command, tmp_path / "run", "--data", "none.parquet")
    assert done.returncode != 0
    assert done.stderr.count("nextitem-train: There is no file or folder none.parquet") == 1


@pytest.mark.slow
def test_a_failure_of_process_0_in_the_midst_ends_all_with_its_sentence(command, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    done = torchrun(tmp_path / "failing.py", *command, tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count("nextitem-train: The validation cannot be read.") == 1


@pytest.mark.slow
def test_a_training_that_diverges_ends_all_and_one_tells(command, tmp_path):
    wild = CONFIG.replace("learning_rate = 1e-2", "learning_rate = 1e36")
    (tmp_path / "config.toml").write_text(wild)
    done = torchrun("-m", "nextitem_training", *command, tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count("nextitem-train: The training stopped at step") == 1, done.stderr
    assert not (tmp_path / "run").exists()


def test_one_process_has_no_workers():
    with processes.group():
        assert processes.count() == 1
        assert processes.rank() == 0
        assert processes.shared("mine") == "mine"
        processes.wait()
        workers.work()
