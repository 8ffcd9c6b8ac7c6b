"""nextitem-train judges a leave-one-out as the benchmark does, which asks through the offline predictor."""

import lzma

import numpy as np
import pytest

from benchmarks.accuracy.baselines import Catalogue, baseline_ranks, cooccurrence, popularity
from benchmarks.accuracy.model import model_ranks
from benchmarks.accuracy.protocols import TEST, VALIDATION, read_stage
from benchmarks.accuracy.ranks import metrics_of
from nextitem_training.config import config_from
from nextitem_training.train import train_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Users who walk in circles, some twice past an item, and two whose last item nobody else has."""
    random = np.random.default_rng(1)
    users = [(np.cumsum(random.choice([1, 2, 3], random.integers(5, 40))) % 40).tolist() for _ in range(300)]
    users[3][-1], users[4][-2] = 100, 101
    lines = "\n".join(" ".join(map(str, [number, *user])) for number, user in enumerate(users))
    path = tmp_path_factory.mktemp("beauty")
    (path / "Beauty.txt.xz").write_bytes(lzma.compress(lines.encode()))
    return path


@pytest.mark.parametrize(("judged", "name"), [(False, VALIDATION), (True, TEST)])
def test_both_find_the_same_figures(folder, judged, name, tmp_path):
    stage = read_stage("beauty", folder, name, judged=judged)
    stage.written.to_parquet(tmp_path / "users.parquet")
    config = config_from(
        {
            "data": {"window": 6, **stage.settings},
            "model": {"body": "sasrec", "pretraining": "clm", "d_model": 16, "heads": 2, "layers": 1},
            "training": {"epochs": 2, "learning_rate": 1e-2},
        }
    )
    run = train_run(tmp_path / "users.parquet", config, tmp_path / "run").run
    found = run.metrics()["metrics"]
    assert run.metrics()["held_out_sessions"] == len(stage.questions) == 300
    expected = metrics_of(model_ranks(run.path, stage.questions, threads=1))
    assert without_at(found["model"]) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["recall10"] < 1
    catalogue = Catalogue.of(stage.training)
    for baseline, scorer in {
        "co-occurrence": cooccurrence(stage.training, catalogue),
        "popularity": popularity(catalogue),
    }.items():
        expected = metrics_of(baseline_ranks(scorer, stage.questions, catalogue, baseline))
        # Items of one frequency stand in another order in the benchmark's catalogue than in NVTabular's.
        assert without_at(found[baseline]) == pytest.approx(expected, abs=1e-3), baseline


def without_at(metrics):
    return {name.replace("@", ""): value for name, value in metrics.items()}
