"""What each data set's protocol trains on and asks, on small files of its form; on the real ones where they are there."""

import lzma
import os
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.accuracy.protocols import DATA_SETS, TEST, VALIDATION, read_stage
from benchmarks.accuracy.sessions import ITEM, SESSION
from benchmarks.support.own_process import ROOT
from nextitem_training.config import DataConfig
from nextitem_training.data.split import split_interactions


def write(path, sessions):
    path.write_bytes(lzma.compress("\n".join(" ".join(map(str, session)) for session in sessions).encode()))


def sessions_of(rows):
    return [group[ITEM].tolist() for _, group in rows.groupby(SESSION, sort=False)]


@pytest.fixture
def diginetica(tmp_path):
    write(tmp_path / "train_sessions.txt.xz", [[1, 2], [3, 4, 5], [6, 7], [8, 9, 1]])
    write(tmp_path / "test_sessions.txt.xz", [[1, 2, 3], [4, 5]])
    return tmp_path


@pytest.fixture
def beauty(tmp_path):
    write(tmp_path / "Beauty.txt.xz", [[1, 11, 12, 13, 14], [2, 21, 22, 23]])
    return tmp_path


def test_diginetica_is_trained_on_all_and_asked_every_prefix(diginetica):
    stage = read_stage("diginetica", diginetica, TEST)
    assert len(sessions_of(stage.training)) == 4
    assert stage.questions.targets.tolist() == [2, 3, 5]
    assert not stage.questions.hides_seen


def test_diginetica_is_validated_on_its_newest_training_sessions(diginetica):
    stage = read_stage("diginetica", diginetica, VALIDATION)
    assert sessions_of(stage.training) == [[1, 2], [3, 4, 5]]
    assert stage.questions.targets.tolist() == [7, 9, 1]


def test_diginetica_keeps_those_from_training_where_they_judge_checkpoints(diginetica):
    stage = read_stage("diginetica", diginetica, TEST, judged=True)
    assert sessions_of(stage.training) == [[1, 2], [3, 4, 5]]
    assert stage.questions.targets.tolist() == [2, 3, 5]
    assert set(stage.settings) == {"holdout_days", "validation_days"}


@pytest.mark.parametrize(("name", "inputs", "targets"), [(VALIDATION, [2, 1], [13, 22]), (TEST, [3, 2], [14, 23])])
def test_beauty_leaves_one_out_and_trains_once_for_both_stages(beauty, name, inputs, targets):
    stage = read_stage("beauty", beauty, name)
    assert sessions_of(stage.training) == [[11, 12], [21]]
    assert stage.questions.lengths.tolist() == inputs
    assert stage.questions.targets.tolist() == targets
    assert stage.questions.hides_seen
    assert stage.name == read_stage("beauty", beauty, VALIDATION).name


@pytest.mark.parametrize("name", [VALIDATION, TEST])
@pytest.mark.parametrize("data_set", ["diginetica", "beauty"])
def test_nextitem_train_trains_on_what_the_baselines_have(request, data_set, name):
    stage = read_stage(data_set, request.getfixturevalue(data_set), name)
    split = split_interactions(stage.written, DataConfig(**stage.settings))
    assert sessions_of(split.training) == sessions_of(stage.training)


@pytest.fixture(scope="module")
def eshop():
    return {name: read_stage("eshop", ROOT / "demo", name, quick=True) for name in (VALIDATION, TEST)}


@pytest.mark.parametrize("name", [VALIDATION, TEST])
def test_eshop_is_held_out_as_nextitem_train_does(eshop, name):
    stage = eshop[name]
    split = split_interactions(stage.written, DataConfig(**stage.settings))
    assert sorted(sessions_of(split.training)) == sorted(sessions_of(stage.training))
    asked = split.held_out.groupby(SESSION)[ITEM].agg(["last", "size"])
    assert sorted(asked["last"][asked["size"] >= 2]) == sorted(stage.questions.targets)


def test_eshop_is_validated_before_what_it_is_tested_on(eshop):
    held_out = pd.Timedelta(days=eshop[TEST].settings["holdout_days"])
    assert eshop[VALIDATION].written.timestamp.max() <= eshop[TEST].written.timestamp.max() - held_out


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_each_data_set_has_a_configuration(data_set):
    assert (ROOT / "benchmarks" / "accuracy" / f"{data_set}.toml").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data_set", "folder", "sessions", "clicks", "questions"),
    [("diginetica", "diginetica", 186_670, 906_140, 60_858), ("beauty", "amazon_beauty", 22_363, 153_776, 22_363)],
)
def test_the_published_counts(data_set, folder, sessions, clicks, questions):
    data = os.environ.get("NEXTITEM_DATA_SETS")
    if not data:
        pytest.skip("the data sets are not part of the project; NEXTITEM_DATA_SETS names the folder that holds theirs")
    stage = read_stage(data_set, Path(data) / folder, TEST)
    assert (stage.training[SESSION].nunique(), len(stage.training)) == (sessions, clicks)
    assert len(stage.questions) == questions
