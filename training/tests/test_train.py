import dataclasses

import pytest

from nextitem_training import train
from nextitem_training.errors import ConfigError, RunDirectoryError


def test_the_model_beats_both_baselines_where_the_pattern_needs_no_luck(trained):
    model = trained.metrics["model"]["mrr@10"]
    assert model > 0.8
    assert model > 2 * trained.metrics["popularity"]["mrr@10"]


def test_a_run_that_fails_late_leaves_nothing(clicks_path, config, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(train, "_evaluate", fail)
    short = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    with pytest.raises(RuntimeError, match="out of memory"):
        train.train_run(clicks_path, short, tmp_path / "runs" / "new")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_wrong_schedule_is_refused_before_the_work_begins(config, tmp_path):
    wrong = dataclasses.replace(config, training=dataclasses.replace(config.training, schedule="cosinus"))
    with pytest.raises(ConfigError, match="schedule is 'cosinus'"):
        train.train_run("no such data", wrong, tmp_path / "run")


def test_an_existing_output_is_refused_before_the_work_begins(trained, config):
    with pytest.raises(RunDirectoryError, match="exists"):
        train.train_run("no such data", config, trained.run.path)
