"""Models that Transformers4Rec made, recorded by record.py: imported here, they give its own scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nextitem_training.importing import cli
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from nextitem_training.special_ids import FIRST_KNOWN
from training.tests.support import importing_shop

RECORDED = Path(__file__).with_name("recorded")
#: What no weight tells of each recorded model.
CASES = {
    "xlnet_mlm": ["--masking", "mlm"],
    "xlnet_plm": ["--masking", "plm"],
    "gpt2_clm": ["--masking", "clm", "--heads", "2", "--temperature", "0.5"],
    "bert_side": [
        *("--masking", "mlm", "--body", "bert", "--heads", "2", "--activation", "relu", "--task-activation", "none"),
    ],
    "xlnet_readme": ["--masking", "clm"],
    "xlnet_sum": ["--masking", "mlm", "--aggregation", "element-wise-sum"],
    "xlnet_multi": ["--masking", "mlm", "--aggregation", "element-wise-sum-item-multi"],
    "xlnet_soft": ["--masking", "clm"],
    "electra_rtd": ["--masking", "rtd", "--heads", "2", "--task-activation", "relu"],
    "albert_mlm": ["--masking", "mlm", "--heads", "2", "--layers", "2"],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The sample, the saved workflow, and the options that name both."""
    folder = tmp_path_factory.mktemp("shop")
    frame = importing_shop.interactions()
    importing_shop.fit(frame, folder).save(str(folder / "workflow"))
    frame.to_parquet(folder / "clicks.parquet")
    return frame, ["--workflow", str(folder / "workflow"), "--sample", str(folder / "clicks.parquet"), "--quiet"]


def files_of(name):
    return ["--state-dict", str(RECORDED / f"{name}.safetensors"), "--schema", str(RECORDED / f"{name}.pbtxt")]


def imported(shop, output, name, *more):
    """The run that the command makes of a recorded model."""
    assert cli.main([*files_of(name), *shop[1], "--output", str(output), *CASES[name], *more]) == 0
    return RunDirectory.open(output)


@pytest.mark.parametrize("mask", ["original", "proper"])
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_model_gives_its_own_scores(shop, tmp_path, name, mask):
    run = imported(shop, tmp_path / "run", name, "--mask", mask)
    recorded = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    sessions = shop[0][shop[0].session_id.isin(recorded["sessions"])]
    found = OfflinePredictor(run).scores(sessions, recorded["sessions"])
    assert set(found.status) == {"ok"}
    expected = np.array(recorded[mask])[:, FIRST_KNOWN:]
    if (name, mask) == ("xlnet_plm", "proper"):  # there the last item counts for nothing, whatever is asked
        assert not np.allclose(found.scores[:, FIRST_KNOWN:], expected, atol=1e-2)
        return
    np.testing.assert_allclose(found.scores[:, FIRST_KNOWN:], expected, atol=5e-5, rtol=1e-4)


def test_both_masks_differ_where_the_body_sees_padding(shop, tmp_path):
    answers = [json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8")) for name in CASES]
    differing = [name for name, each in zip(CASES, answers, strict=True) if each["original"] != each["proper"]]
    assert {"xlnet_mlm", "bert_side", "xlnet_readme", "electra_rtd", "albert_mlm"} <= set(differing)


def test_a_run_says_what_it_was_made_of_and_how_it_ranks(shop, tmp_path, capsys):
    run = imported(shop, tmp_path / "run", "bert_side", "--json")
    assert run.config.imported.columns == ("item_id", "category", "price", "rating")
    assert run.schema.item_column == "item_id"
    assert run.schema.tie_breaker_column == ""
    assert run.metrics()["imported_from"] == "bert_side.safetensors"
    printed = json.loads(capsys.readouterr().out)
    assert printed["metrics"] == run.metrics()["metrics"]
    assert set(printed["metrics"]) == {"model", "popularity"}


def refused(shop, tmp_path, capsys, name, *options):
    assert cli.main([*files_of(name), *shop[1], "--output", str(tmp_path / "run"), *options]) == 2
    assert not (tmp_path / "run").exists()
    return capsys.readouterr().err


def test_a_schema_of_other_columns_is_refused(shop, tmp_path, capsys):
    options = ["--schema", str(RECORDED / "bert_side.pbtxt"), "--masking", "clm"]
    found = refused(shop, tmp_path, capsys, "xlnet_readme", *options)
    assert "reads 1 continuous columns by its weights' shapes, and the schema has 2 (price_list, rating_list)" in found


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("bert_side", ["--masking", "mlm", "--heads", "2"], "BERT and of RoBERTa alike; say which with --body bert"),
        ("bert_side", ["--masking", "mlm", "--body", "bert"], "No weight of the body 'bert' tells its attention heads"),
        ("bert_side", ["--masking", "mlm", "--body", "bert", "--heads", "2"], "say it with --task-activation"),
        ("albert_mlm", ["--masking", "mlm", "--heads", "2"], "say it with --layers"),
        ("xlnet_mlm", ["--masking", "mlm", "--heads", "4"], "--heads is 4, but the weights have 2 heads"),
        ("xlnet_mlm", ["--masking", "mlm", "--body", "gpt2"], "--body is 'gpt2', but the state dict has the body 'xlnet'"),
        ("gpt2_clm", ["--masking", "mlm", "--heads", "2"], "The body 'gpt2' cannot be trained with 'mlm'"),
        ("gpt2_clm", ["--masking", "clm", "--heads", "2", "--layers", "5"], "the weights have 2 layers"),
        ("gpt2_clm", ["--masking", "clm", "--heads", "2", "--window", "9"], "knows 5 positions, and the window needs 9"),
        ("gpt2_clm", ["--masking", "clm", "--heads", "2", "--tie-breaker", "row"], "--tie-breaker is 'row'"),
    ],
)  # fmt: skip
def test_what_no_weight_tells_is_asked_for(shop, tmp_path, capsys, name, options, sentence):
    assert sentence in refused(shop, tmp_path, capsys, name, *options)
