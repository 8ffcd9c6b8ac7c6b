import dataclasses
import json

import pandas as pd
import pytest

from nextitem_training import cli
from nextitem_training.config import config_from
from nextitem_training.errors import ConfigError, DataError, RunDirectoryError
from nextitem_training.incremental import Windows, train_windows
from nextitem_training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def small(config):
    """Three days are held out."""
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, categorical=(), continuous=(), time_features=()),
        training=dataclasses.replace(config.training, epochs=3),
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("incremental") / "daily"


@pytest.fixture(scope="module")
def trained_windows(clicks_path, small, output):
    return train_windows(clicks_path, small, output, Windows(1, epochs=1))


def test_every_window_is_judged_by_the_days_after_it_and_goes_on_from_the_one_before(trained_windows, output, clicks):
    newest = clicks["timestamp"].max()
    dates = [f"{newest - pd.Timedelta(days=days):%Y-%m-%d}" for days in (3, 2, 1)]
    assert [*trained_windows] == [*dates, "mean"]
    report = json.loads((output / "windows.json").read_text())
    assert [window["run"] for window in report["windows"]] == dates
    assert [window["cutoff"] for window in report["windows"]] == [
        str(newest - pd.Timedelta(days=days)) for days in (3, 2, 1)
    ]
    first, *later = (RunDirectory.open(output / date) for date in dates)
    assert first.config.training.epochs == 3
    assert "init_from" not in first.metrics()
    for run in later:
        assert run.config.training.epochs == 1
        assert run.metrics()["init_from"]["carried"] == 12
        # A day has 24 sessions, which are one step's; all days before it would be more.
        assert run.metrics()["training"]["steps"] == 1
        sample = run.sample()
        start = sample.groupby("session_id")["timestamp"].min()
        cutoff = pd.Timestamp(run.metrics()["cutoff"])
        assert (start > cutoff).all()
        assert (start <= cutoff + pd.Timedelta(days=1)).all()
    metrics = [window["metrics"]["model"]["mrr@10"] for window in report["windows"]]
    assert report["mean"]["model"]["mrr@10"] == pytest.approx(sum(metrics) / 3)
    assert trained_windows["mean"] == report["mean"]["model"]


def test_windows_that_are_done_are_not_done_again(trained_windows, output, clicks_path, small):
    *_, before, last = sorted(path for path in output.iterdir() if path.is_dir())
    kept = (before / "metrics.json").stat().st_mtime_ns
    last.rename(output.with_name("moved"))
    with pytest.raises(RunDirectoryError, match=r"holds time windows already\. Pass --resume to go on"):
        train_windows(clicks_path, small, output, Windows(1, epochs=1))
    with pytest.raises(RunDirectoryError, match=r"--incremental-days is 1 there and 2 here"):
        train_windows(clicks_path, small, output, Windows(2, epochs=1), resume=True)
    assert train_windows(clicks_path, small, output, Windows(1, epochs=1), resume=True) == trained_windows
    assert (before / "metrics.json").stat().st_mtime_ns == kept
    assert (last / "model.safetensors").read_bytes() == (output.with_name("moved") / "model.safetensors").read_bytes()


def test_another_folder_is_left_alone(clicks_path, small, tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(RunDirectoryError, match="exists and holds no time windows"):
        train_windows(clicks_path, small, tmp_path / "precious", Windows(1), overwrite=True)


def sessions_of(days):
    """A session of two interactions on each of these days of January."""
    rows = [(f"s{day}", "a", pd.Timestamp(2024, 1, day, hour)) for day in days for hour in (10, 12)]
    return pd.DataFrame(rows, columns=["session_id", "item_id", "timestamp"])


def test_a_window_without_sessions_is_left_out_and_learnt_from_later(caplog):
    chosen = config_from({"data": {"holdout_days": 5}})
    splits = Windows(1).splits(sessions_of([1, 2, 3, 4, 7, 8]), chosen)
    assert [split.cutoff.day for split in splits] == [3, 6, 7]
    assert [split.since and split.since.day for split in splits] == [None, 3, 6]
    assert [split.held_out["session_id"].unique().tolist() for split in splits] == [["s4"], ["s7"], ["s8"]]
    assert "is left out: No session of two interactions" in caplog.text


def test_windows_without_days_are_refused_before_the_work_begins(tmp_path):
    chosen = config_from({"data": {"holdout": "last-interaction"}})
    with pytest.raises(ConfigError, match=r"but \[data\] holdout is 'last-interaction', .* set holdout = 'days'"):
        train_windows("no such data", chosen, tmp_path / "out", Windows(1))


def test_windows_before_the_data_are_left_out():
    (split,) = Windows(1).splits(sessions_of([1, 2]), config_from({"data": {"holdout_days": 5}}))
    assert split.cutoff.day == 1


def test_data_without_any_window_is_refused():
    with pytest.raises(DataError, match="No session of 2 interactions is left for training"):
        Windows(1).splits(sessions_of([1]), config_from({"data": {"holdout_days": 5}}))


@pytest.mark.parametrize(("given", "name"), [((0, None), "--incremental-days"), ((1, 0), "--incremental-epochs")])
def test_less_than_one_is_refused(given, name):
    with pytest.raises(ConfigError, match=f"{name} is 0; it has to be at least 1"):
        Windows(*given)


def test_the_command_prints_a_line_for_each_window(trained_windows, clicks_path, tmp_path, capsys):
    (tmp_path / "config.toml").write_text(
        "[data]\nwindow = 4\nholdout_days = 2\n[model]\nd_model = 8\nheads = 2\nlayers = 1\n[training]\nepochs = 1\n"
    )
    command = ["--data", str(clicks_path), "--config", str(tmp_path / "config.toml"), "--output", str(tmp_path / "out")]
    assert cli.main([*command, "--incremental-days", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == [*[*trained_windows][1:3], "mean"]
