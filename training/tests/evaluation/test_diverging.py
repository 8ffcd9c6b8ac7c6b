"""Numbers that stop being finite are told where they do, rank nothing well and are written nowhere."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from nextitem_training import cli
from nextitem_training.config import Config, read_config
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.errors import ConfigError, DataError, DivergenceError, RunDirectoryError
from nextitem_training.evaluation import metrics_of, ranks_of
from nextitem_training.evaluation.finite import not_finite
from nextitem_training.loop.micro_batch_trainer import Validation, seeks_scale
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import WEIGHTS, RunDirectory, write
from nextitem_training.train import train_run


def with_training(config: Config, **changed) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **changed))


def with_data(config: Config, **changed) -> Config:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changed))


def left(folder) -> list[str]:
    """What stands in the folder, but for the state of a training that was cut off."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".training"))


@pytest.mark.parametrize(
    ("accumulation", "clip", "validation_days"),
    [
        (2, 1.0, 0),
        (1, 0.0, 2),
        *(pytest.param(*rest, marks=pytest.mark.slow) for rest in [(1, 1.0, 0), (1, 1.0, 2), (2, 1.0, 2), (1, 0.0, 0)]),
    ],
)
def test_training_stops_at_the_first_number_that_is_not_finite(
    clicks_path, config, tmp_path, accumulation, clip, validation_days
):
    wild = with_training(
        config,
        learning_rate=1e36,
        gradient_accumulation=accumulation,
        max_gradient_norm=clip,
        epochs=3,
        schedule="constant",
    )
    with pytest.raises(
        DivergenceError,
        match=r"stopped at step \d+ of \d+, since .* (is nan|is inf|are NaN or infinite) there\. Lower \[training\] "
        rf"learning_rate, which is 1e\+36, or (set|lower) max_gradient_norm, which is {clip:g};",
    ):
        train_run(clicks_path, with_data(wild, validation_days=validation_days), tmp_path / "run")
    assert left(tmp_path) == []


def test_the_command_says_so_and_writes_nothing(clicks_path, tmp_path, capsys):
    (tmp_path / "config.toml").write_text(
        "[data]\nholdout_days = 3\n[model]\nd_model = 8\nheads = 2\nlayers = 1\n[training]\nlearning_rate = 1e36\nepochs = 2"
    )
    arguments = ["--data", clicks_path, "--config", tmp_path / "config.toml", "--output", tmp_path / "runs" / "run"]
    assert cli.main([*map(str, arguments)]) == 2
    assert "The training stopped at step" in capsys.readouterr().err
    assert left(tmp_path / "runs") == []


def test_weights_that_a_finite_gradient_made_infinite_reach_no_checkpoint(clicks_path, config, tmp_path):
    # Of one step, after which no loss would tell.
    wild = with_training(config, learning_rate=1e39, epochs=1, batch_size=10_000, schedule="constant", warmup_share=0.0)
    with pytest.raises(
        DivergenceError,
        match=r"stopped at step 1 of 1, since the weights (?!model\.)\S+, .* and \d+ more are NaN or infinite there",
    ):
        train_run(clicks_path, wild, tmp_path / "run")
    assert [*tmp_path.iterdir()] == []


def test_a_step_without_a_finite_gradient_is_let_pass_while_float16_seeks_its_scale():
    assert not seeks_scale(None)
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer, scaler = torch.optim.SGD([weight]), torch.amp.GradScaler("cpu", init_scale=4.0)
    passed = []
    for _ in range(4):
        weight.grad = torch.tensor(math.inf)
        scaler.scale(torch.zeros(()))
        scaler.step(optimizer)
        scaler.update()
        passed.append(seeks_scale(scaler))
    assert passed == [True, True, False, False]  # the scales were 4, 2, 1 and 1/2
    assert weight == 0


def test_a_model_whose_scores_overflow_is_not_judged(run, trained):
    model = run.load_model()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1e38)
    model.normalize = False
    sessions = EncodedSessions(
        np.arange(1), np.array([0, 3]), {f.name: np.full(3, 4, dtype=f.dtype) for f in run.schema.features}
    )
    with pytest.raises(DivergenceError, match="scores on held-out sessions are NaN or infinite"):
        Validation(sessions, np.ones(run.schema.item_count - 3, np.int64)).metrics(model)


def test_what_has_no_number_for_a_score_is_not_recommended(run):
    predictor = OfflinePredictor(run)
    with torch.no_grad():
        predictor._model.inputs.item_table()[5] = math.nan
    rows = run.sample()
    answer = predictor.predict(rows[rows["session_id"] == rows["session_id"].iloc[0]], 15)
    assert np.isfinite(answer.scores).all()
    assert predictor.item_ids[5] not in answer.item_ids
    assert answer.item_ids[0, 11:].tolist() == [""] * 4


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_setting_that_is_not_finite_is_refused(tmp_path, value):
    (tmp_path / "config.toml").write_text(f"[training]\nlearning_rate = {value}")
    with pytest.raises(ConfigError, match=rf"\[training\] learning_rate is {value}; it has to be a finite number"):
        read_config(tmp_path / "config.toml")


@pytest.mark.parametrize("part", ["training", "held-out"])
def test_numbers_that_cannot_be_normalised_are_refused_with_column_and_count(clicks, config, tmp_path, part):
    frame = clicks.assign(clicks=clicks["clicks"].astype(np.float32) / 1000)
    rows = frame.index[:2] if part == "training" else frame.index[-3:-1]
    frame.loc[rows, "clicks"] = np.float32(3.4e38)
    frame.to_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(
        DataError, match=rf"Column 'clicks' is NaN or infinite in \d+ of the \d+ interactions of the {part} part"
    ):
        train_run(tmp_path / "clicks.parquet", config, tmp_path / "run")
    assert left(tmp_path) == ["clicks.parquet"]


def test_nan_ranks_nothing_well():
    scores = np.full((1, 5), np.nan, dtype=np.float32)
    assert ranks_of(scores, np.array([3])).tolist() == [math.inf]
    assert set(metrics_of(np.array([math.inf])).values()) == {0.0}
    scores[0, 3] = 1.0  # all others have NaN
    assert ranks_of(scores, np.array([3])).tolist() == [5.0]


def test_weights_that_are_not_finite_are_named():
    good = torch.ones(3)
    assert not_finite({"good": good, "codes": torch.arange(3), "empty": torch.empty(0)}) == ""
    wrong = {
        name: torch.tensor([1.0, bad])
        for name, bad in zip("abcd", [math.nan, math.inf, -math.inf, math.nan], strict=True)
    }
    assert not_finite({"good": good, **wrong}) == "a, b, c and 1 more"


@pytest.fixture
def broken(run, tmp_path):
    """A run that an older version wrote with weights that are NaN."""
    shutil.copytree(run.path, tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / WEIGHTS)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[name][0] = math.nan
    save_file(weights, tmp_path / "broken" / WEIGHTS)
    return tmp_path / "broken", name


def test_a_run_of_nan_is_neither_loaded_nor_started_from(broken, config, tmp_path):
    path, name = broken
    with pytest.raises(RunDirectoryError, match=rf"holds NaN or infinite weights, in {name}.*: its training diverged"):
        RunDirectory.open(path).load_model()
    with pytest.raises(RunDirectoryError, match="its training diverged"):  # before the data is read
        train_run("no such data", with_training(config, epochs=1), tmp_path / "next", init_from=path)
    assert left(tmp_path) == ["broken"]


@pytest.mark.parametrize("what", ["weights", "metrics"])
def test_a_run_directory_of_nan_is_not_written(run, tmp_path, what):
    model, metrics = run.load_model(), run.metrics()
    if what == "weights":
        next(model.parameters()).data[0] = math.inf
        named = next(iter(dict(model.named_parameters())))
    else:
        metrics["metrics"]["model"]["recall@10"] = math.nan
        named = r"metrics\.json: metrics\.model\.recall@10"
    with pytest.raises(RunDirectoryError, match=rf"No run directory is written, since .*{named}.* is NaN or infinite"):
        write(
            tmp_path, config=run.config, schema=run.schema, model=model, save_workflow=lambda path: None,
            sample=run.sample(), metrics=metrics,
        )  # fmt: skip
    assert left(tmp_path) == []


# Columns without a value.


@pytest.mark.parametrize("column", ["item_id", "brand", "shop", "price", "clicks", "bought"])
def test_a_column_without_a_value_in_the_training_part_is_refused(clicks, config, tmp_path, column):
    frame = clicks.assign(clicks=clicks["clicks"].astype("Int64"), bought=1.0)
    config = with_data(config, targets=("bought",))
    early = frame["timestamp"] <= frame["timestamp"].max() - pd.Timedelta(days=3)
    frame[column] = frame[column].mask(early)
    frame.to_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(
        DataError, match=rf"Column '{column}' holds no value in the \d+ interactions of the training part"
    ):
        train_run(tmp_path / "clicks.parquet", config, tmp_path / "run")
    assert left(tmp_path) == ["clicks.parquet"]


@pytest.mark.parametrize("part", ["validation", "held-out"])
def test_a_column_without_a_value_later_is_none_of_the_trainings_trouble(clicks, config, tmp_path, part):
    frame = clicks.assign(clicks=clicks["clicks"].astype("Int64"))
    age = frame["timestamp"].max() - frame["timestamp"]
    later = age < pd.Timedelta(days=3)
    empty = later if part == "held-out" else (age < pd.Timedelta(days=6)) & ~later
    for column in ("brand", "shop", "price", "clicks"):
        frame[column] = frame[column].mask(empty)
    frame.to_parquet(tmp_path / "clicks.parquet")
    quick = with_data(with_training(config, epochs=1), validation_days=2)
    found = train_run(tmp_path / "clicks.parquet", quick, tmp_path / "run").metrics
    assert all(map(math.isfinite, found["model"].values()))


def test_time_windows_begin_where_every_column_has_a_value(clicks, config, tmp_path, caplog):
    from nextitem_training.incremental import Windows, train_windows

    frame = clicks.copy()
    day = (frame["timestamp"].max() - frame["timestamp"]).dt.total_seconds() / 86400
    frame["brand"] = frame["brand"].mask(day > 2.5)
    frame.to_parquet(tmp_path / "clicks.parquet")
    found = train_windows(
        tmp_path / "clicks.parquet", with_training(config, epochs=1), tmp_path / "daily", Windows(1, 1)
    )
    assert len(found) == 3  # two windows of three, and their mean
    assert "is left out: Column 'brand' holds no value" in caplog.text
    assert len(json.loads((tmp_path / "daily" / "windows.json").read_text())["windows"]) == 2
