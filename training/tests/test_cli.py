import json

import pytest

from nextitem_training import cli
from nextitem_training.run_directory import RunDirectory

CONFIG = """
[data]
window = 4
holdout_days = 3
[model]
d_model = 8
heads = 2
layers = 1
[training]
epochs = 50
"""

LATER = (
    "--validation-data",
    "--test-data",
    "--init-from",
    "--incremental-days",
    "--incremental-epochs",
    "--dask-scheduler",
)


@pytest.fixture
def command(tmp_path, clicks_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    arguments = ["--data", str(clicks_path), "--config", str(tmp_path / "config.toml")]
    return [*arguments, "--output", str(tmp_path / "out" / "run")]


def test_a_run_is_trained_with_options_in_place_of_the_file(command, tmp_path, capsys):
    options = ["--body", "gpt2", "--pretraining", "clm", "--epochs", "1"]
    assert cli.main([*command, *options]) == 0
    out = capsys.readouterr().out
    for word in ("recall@10", "model", "co-occurrence", "popularity", "Wrote"):
        assert word in out
    run = RunDirectory.open(tmp_path / "out" / "run")
    assert run.config.model.body == "gpt2"
    assert run.config.training.epochs == 1
    assert cli.main([*command, *options]) == 2
    assert "exists; choose another --output or pass --overwrite" in capsys.readouterr().err


def test_the_result_as_json_and_nothing_else_is_said(command, tmp_path, capfd):
    options = ["--body", "gpt2", "--pretraining", "clm", "--epochs", "1", "--json", "--quiet"]
    assert cli.main([*command, *options]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["run"] == str(tmp_path / "out" / "run")
    assert found["metrics"]["model"].keys() == found["metrics"]["popularity"].keys()
    assert "it/s" not in err
    assert "Epoch" not in err


def test_sessions_from_files_judge_the_run(command, clicks, clicks_path, tmp_path, capsys):
    clicks[clicks["session_id"].isin(["s1", "s2", "s3", "s4"])].to_csv(tmp_path / "test.csv", index=False)
    options = ["--epochs", "2", "--validation-data", str(clicks_path), "--test-data", str(tmp_path / "test.csv")]
    assert cli.main([*command, *options]) == 0
    assert "Wrote" in capsys.readouterr().out
    metrics = RunDirectory.open(tmp_path / "out" / "run").metrics()
    wanted = clicks.groupby("session_id").size()
    assert metrics["held_out_sessions"] == (wanted[["s1", "s2", "s3", "s4"]] >= 2).sum()
    assert "best_epoch" in metrics["training"]
    assert "cutoff" not in metrics


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data", "none.parquet"], "There is no file or folder none.parquet"),
        (["--config", "none.toml"], "none.toml cannot be read"),
        (["--body", "brt"], "There is no body 'brt'. Did you mean 'bert'?"),
        (
            ["--pretraining", "clm", "--body", "bert"],
            "'clm', which needs causal attention. It takes mlm or rtd; 'clm' goes with core, gpt2, ",
        ),
        (["--pretraining", "all"], "There is no pre-training objective 'all'"),
        (["--epochs", "0"], "[training] epochs is 0"),
        (["--incremental-days", "0"], "--incremental-days is 0; it has to be at least 1"),
        (["--incremental-epochs", "2"], "--incremental-epochs goes with --incremental-days, which is not given"),
        (["--incremental-days", "1", "--test-data", "x"], "--test-data do not go with it. Leave them out"),
        (["--test-data", "none.csv"], "--test-data: There is no file or folder none.csv"),
        (["--validation-data", "none.csv"], "--validation-data: There is no file or folder none.csv"),
        (["--dask-scheduler", "what is this"], "There is no Dask scheduler at what is this"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(command, options, sentence, capsys, tmp_path):
    assert cli.main([*command, *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('time_features = ["year"]', "There is no time feature 'year'"),
        ('categorical = ["brandd"]', "no column 'brandd'. Did you mean 'brand'"),
    ],
)
def test_a_wrong_name_in_the_configuration_gets_a_sentence(command, tmp_path, line, sentence, capsys):
    config = CONFIG.replace("[data]", f"[data]\n{line}")
    (tmp_path / "config.toml").write_text(config)
    assert cli.main(command) == 2
    assert sentence in capsys.readouterr().err


def test_help_explains_the_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    for option in (
        "--data",
        "--config",
        "--output",
        "--overwrite",
        "--resume",
        "--body",
        "example:",
        "torchrun",
        *LATER,
    ):
        assert option in out
