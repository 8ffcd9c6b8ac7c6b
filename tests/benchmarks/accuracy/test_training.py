"""Configurations are completed by the protocol, and a run that is done is not trained again."""

import sys

import pytest

from benchmarks.accuracy.protocols import Stage
from benchmarks.accuracy.sessions import arranged, as_rows, last_of_each
from benchmarks.accuracy.training import described, is_judged, trained, with_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = """# a comment
[data]
window = 5
holdout_days = 3  # the demo's
[model]
body = "sasrec"
pretraining = "clm"
holdout_days = "no key of [data]"
[[heads]]
"""


def test_settings_are_replaced_in_their_table_alone():
    found = with_settings(TEXT, "data", {"holdout_days": 0.5, "validation_days": 1.5})
    wanted = tomllib.loads(TEXT)
    wanted["data"] |= {"holdout_days": 0.5, "validation_days": 1.5}
    assert tomllib.loads(found) == wanted
    assert found.startswith("# a comment\n")


def test_a_table_that_is_missing_is_added():
    assert tomllib.loads(with_settings(TEXT, "training", {"seed": 7}))["training"] == {"seed": 7}


def test_only_patience_asks_for_sessions_that_judge():
    assert not is_judged(TEXT)
    assert not is_judged("[training]\nepochs = 3\npatience = 0\n")
    assert is_judged("[training]\npatience = 2\n")


@pytest.mark.slow
def test_a_run_that_is_done_is_not_trained_again(tmp_path):
    training = [[number % 5, (number + 1) % 5, (number + 2) % 5] for number in range(40)]
    written, settings = arranged(training, training[:5])
    rows = as_rows(training)
    stage = Stage("toy", written, settings, rows, last_of_each(rows))
    config = '[data]\nwindow = 4\n[model]\nbody = "sasrec"\npretraining = "clm"\nd_model = 8\n[training]\nepochs = 1\n'
    run = trained(stage, config, tmp_path)
    weights = run / "model.safetensors"
    first = weights.stat().st_mtime_ns
    assert described(run) == {
        "data": {"window": 4},
        "model": {"body": "sasrec", "pretraining": "clm", "d_model": 8},
        "training": {"epochs": 1},
    }
    assert trained(stage, config, tmp_path) == run
    assert weights.stat().st_mtime_ns == first
    assert trained(stage, config.replace("epochs = 1", "epochs = 2"), tmp_path) != run
