import dataclasses

import pytest

from nextitem_training import train
from nextitem_training.errors import ConfigError, RunDirectoryError
from nextitem_training.evaluation.log import read_log
from nextitem_training.loop.micro_batch_trainer import Validation


def test_the_model_beats_both_baselines_where_the_pattern_needs_no_luck(trained):
    model = trained.metrics["model"]["mrr@10"]
    assert model > 0.8
    assert model > 2 * trained.metrics["popularity"]["mrr@10"]


@pytest.fixture(scope="module")
def judged(clicks_path, config, tmp_path_factory):
    """A run and what it was judged by. Steps so long that epochs after the best one lose again."""
    chosen = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, validation_days=3),
        training=dataclasses.replace(config.training, epochs=20, learning_rate=0.1, metric="mrr@10", patience=2),
    )
    prepared, prepare = [], train.fit_and_encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "fit_and_encode", lambda *given: prepared.append(prepare(*given)) or prepared[-1])
        found = train.train_run(clicks_path, chosen, tmp_path_factory.mktemp("validated") / "run")
    return found.run, prepared[0]


@pytest.fixture
def validated(judged):
    return judged[0]


def test_the_best_epoch_gives_the_weights_and_patience_ends_the_training(judged):
    validated, prepared = judged
    course = validated.metrics()["training"]
    assert course["epochs"] == course["best_epoch"] + 2 < 20
    found = Validation(prepared.validation, prepared.counts).metrics(validated.load_model())
    assert found == course["validation"]


def test_the_log_says_what_every_epoch_came_to(validated):
    lines = read_log(validated.path / "training_log.jsonl")
    by_epoch = {line["epoch"]: line["validation"] for line in lines if "validation" in line}
    course = validated.metrics()["training"]
    assert [*by_epoch] == [*range(1, course["epochs"] + 1)]
    assert by_epoch[course["best_epoch"]] == course["validation"]
    assert max(by_epoch, key=lambda epoch: by_epoch[epoch]["mrr@10"]) == course["best_epoch"]
    losses = [line for line in lines if "loss" in line]
    assert len(losses) >= 10 * course["epochs"]
    assert {"step", "epoch", "seconds", "loss", "gradient_norm", "learning_rate"} == losses[0].keys()
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    for name in ("loss.png", "validation.png"):
        assert (validated.path / name).read_bytes().startswith(b"\x89PNG")


def test_without_validation_the_last_epoch_counts(trained):
    assert trained.run.metrics()["training"].keys() == {"epochs", "steps"}
    assert not (trained.run.path / "validation.png").exists()
    assert [path.name for path in trained.run.path.parent.iterdir()] == ["small"]


def test_a_run_that_fails_late_leaves_its_checkpoints_alone(clicks_path, config, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(train, "_evaluate", fail)
    short = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    with pytest.raises(RuntimeError, match="out of memory"):
        train.train_run(clicks_path, short, tmp_path / "runs" / "new")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".new.training"]
    with pytest.raises(RunDirectoryError, match="Pass --resume to go on"):
        train.train_run("no such data", short, tmp_path / "runs" / "new")


def test_a_run_that_fails_early_leaves_nothing(clicks_path, config, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(train, "train_with_workers", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        train.train_run(clicks_path, config, tmp_path / "runs" / "new")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_wrong_schedule_is_refused_before_the_work_begins(config, tmp_path):
    wrong = dataclasses.replace(config, training=dataclasses.replace(config.training, schedule="cosinus"))
    with pytest.raises(ConfigError, match="schedule is 'cosinus'"):
        train.train_run("no such data", wrong, tmp_path / "run")


def test_an_existing_output_is_refused_before_the_work_begins(trained, config):
    with pytest.raises(RunDirectoryError, match="exists"):
        train.train_run("no such data", config, trained.run.path)
