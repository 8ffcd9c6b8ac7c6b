"""The command: what it refuses, and everything once on a little data."""

import json

import pytest

from benchmarks.accuracy.__main__ import main


def test_a_folder_without_the_data_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--dataset", "beauty", "--data", str(tmp_path)])
    wanted = f"{tmp_path} has no Beauty.txt.xz; --data has to be the folder of the data set beauty."
    assert wanted in capsys.readouterr().err


@pytest.mark.slow
def test_what_nextitem_train_refuses_ends_the_command(tmp_path, capfd):
    config = tmp_path / "config.toml"
    config.write_text('[model]\nbody = "sasrex"\n')
    given = ["--dataset", "eshop", "--quick", "--only", "model", "--config", str(config), "--cache", str(tmp_path)]
    assert main(given) == 2
    complaint = capfd.readouterr().err
    assert "sasrec" in complaint
    assert "nextitem-train ended with 2; what it says above is to be cured first." in complaint


@pytest.mark.slow
def test_the_best_of_two_configurations_is_tested_beside_the_baselines(tmp_path, capfd):
    files = [tmp_path / "narrow.toml", tmp_path / "wide.toml"]
    for file, width in zip(files, (4, 32), strict=True):
        file.write_text(
            f'[data]\ncategorical = ["category"]\n[model]\nbody = "sasrec"\npretraining = "clm"\nd_model = {width}\nheads = 2\n'
        )
    given = ["--dataset", "eshop", "--quick", "--config", *map(str, files), "--cache", str(tmp_path / "cache")]
    given += ["--json", str(tmp_path / "found.json"), "--tried", str(tmp_path / "tried.json")]
    assert main(given) == 0
    found, tried = (json.loads((tmp_path / name).read_text()) for name in ("found.json", "tried.json"))
    best = max(tried, key=lambda entry: entry["validation"]["recall20"])
    told = found["datasets"]["eshop"]
    assert told["model"]["configuration"] == best["configuration"]
    assert len(tried) == 2
    assert 0 < found["metrics"]["eshop.recall20"] < 1
    assert found["metrics"]["eshop.vsknn.recall20"] > found["metrics"]["eshop.popularity.recall20"]
    assert len(told["baselines"]["vsknn"]["tried"]) == 10
    (run,) = (tmp_path / "cache").glob("eshop-test-quick-*/metrics.json")
    for name, figure in json.loads(run.read_text())["metrics"]["model"].items():
        assert found["metrics"][f"eshop.{name.replace('@', '')}"] == pytest.approx(figure), (
            "nextitem-train finds the same"
        )
    assert str(tmp_path.parent) not in json.dumps([found, tried])
    capfd.readouterr()
    assert main(given) == 0
    assert "interactions to train on" not in capfd.readouterr().err, "a run that is done is trained again"
