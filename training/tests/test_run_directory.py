import dataclasses
import json
import shutil

import pandas as pd
import pytest
import torch

from nextitem_training.errors import RunDirectoryError
from nextitem_training.model import SessionModel
from nextitem_training.run_directory import RunDirectory, new_run_directory, write


@pytest.fixture
def copy(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_moved_run_directory_gives_the_same_model_and_workflow(run, copy):
    moved = RunDirectory.open(copy)
    assert moved.config == run.config
    assert moved.schema == run.schema
    model = moved.load_model()
    assert not model.training
    expected = run.load_model().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    sample = moved.sample()
    rows = moved.load_workflow().transform(sample.dropna().reset_index(drop=True))
    assert len(rows) == sample.dropna()["session_id"].nunique()


def test_the_sample_is_raw_and_has_the_workflows_columns_and_types(run, clicks, config):
    sample = run.sample()
    assert set(run.load_workflow().input_schema.column_names) == set(sample.columns)
    lengths = sample.groupby("session_id").size()
    assert lengths.min() == 1
    assert lengths.max() > config.data.window
    original = clicks.iloc[sample["row_position"]].reset_index(drop=True)
    original["brand"] = original["brand"].replace({"": None})
    for name in original.columns:
        pd.testing.assert_series_equal(sample[name], original[name], check_index=False)


def test_no_file_holds_a_path_of_this_machine(run, clicks_path):
    for file in run.path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert str(run.path.parent).encode() not in content, file.name
            assert str(clicks_path.parent).encode() not in content, file.name


def test_metrics_hold_the_model_and_both_baselines(run, trained):
    stored = run.metrics()
    assert stored["metrics"] == trained.metrics
    assert set(stored["metrics"]) == {"model", "co-occurrence", "popularity"}
    assert stored["held_out_sessions"] > 0


def test_a_missing_or_incomplete_folder_is_refused(tmp_path, copy):
    with pytest.raises(RunDirectoryError, match=r"no run directory .*none; make one with"):
        RunDirectory.open(tmp_path / "none")
    (copy / "model.safetensors").unlink()
    shutil.rmtree(copy / "workflow")
    with pytest.raises(RunDirectoryError, match=r"model.safetensors, workflow is missing"):
        RunDirectory.open(copy)


def test_a_configuration_that_does_not_fit_is_refused(copy):
    stored = json.loads((copy / "config.json").read_text())
    for change, sentence in (
        ({"format_version": 9}, "format version 9, this program reads 2"),
        ({"modle": {}}, "does not fit this program: Unknown key 'modle'"),
    ):
        (copy / "config.json").write_text(json.dumps(stored | change))
        with pytest.raises(RunDirectoryError, match=sentence):
            RunDirectory.open(copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match=r"config.json cannot be read"):
        RunDirectory.open(copy)


@pytest.mark.parametrize(
    "fields",
    [
        {"pretraining": "rtd", "generator_share": 0.25, "detection_weight": 2.0},
        {"pretraining": "plm", "compat": "transformers4rec"},
    ],
)
def test_every_setting_of_the_model_comes_back(config, schema, batch_of, tmp_path, fields):
    chosen = dataclasses.replace(config, model=dataclasses.replace(config.model, heads=4, **fields))
    model = SessionModel(chosen.model, schema).eval()
    write(
        tmp_path,
        config=chosen,
        schema=schema,
        model=model,
        save_workflow=lambda folder: folder.mkdir(),
        sample=pd.DataFrame(),
        metrics={},
    )
    opened = RunDirectory.open(tmp_path)
    assert opened.config == chosen
    batch = batch_of([3, 1], 5)
    with torch.no_grad():
        assert torch.equal(opened.load_model().query(batch), model.query(batch))


def test_a_run_from_before_these_settings_still_opens(run, copy):
    stored = json.loads((copy / "config.json").read_text())
    for name in ("compat", "generator_share", "detection_weight"):
        del stored["model"][name]
    (copy / "config.json").write_text(json.dumps(stored))
    assert RunDirectory.open(copy).config == run.config


def test_weights_of_another_run_are_refused(copy):
    stored = json.loads((copy / "config.json").read_text())
    stored["model"]["layers"] = 3
    (copy / "config.json").write_text(json.dumps(stored))
    with pytest.raises(RunDirectoryError, match=r"does not fit config.json and schema.json"):
        RunDirectory.open(copy).load_model()


def fail_half_way(folder):
    (folder / "part").write_text("half")
    raise RuntimeError("disk")


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="disk"), new_run_directory(tmp_path / "new") as folder:
        fail_half_way(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_overwrite_leaves_the_old_run(copy):
    before = sorted(copy.rglob("*"))
    with pytest.raises(RuntimeError), new_run_directory(copy, overwrite=True):
        raise RuntimeError
    assert sorted(copy.rglob("*")) == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_an_existing_output_is_replaced_only_if_asked_for_and_only_if_it_is_a_run(tmp_path, copy):
    with pytest.raises(RunDirectoryError, match="exists; choose another --output or pass"):
        new_run_directory(copy).__enter__()
    (tmp_path / "precious").mkdir()
    with pytest.raises(RunDirectoryError, match="is no run directory, so --overwrite leaves it"):
        new_run_directory(tmp_path / "precious", overwrite=True).__enter__()
    with new_run_directory(copy, overwrite=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in copy.iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "precious"]
