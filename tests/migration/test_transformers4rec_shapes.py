"""What models of Transformers4Rec may be built of: the adapter answers as they do, in their own environment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

tr = pytest.importorskip("transformers4rec.torch")

from nextitem_client import OfflineClient  # noqa: E402
from nextitem_export import ExportOptions, export_bundle  # noqa: E402
from nextitem_export.adapters import from_transformers4rec  # noqa: E402
from training.tests.importing import record  # noqa: E402
from training.tests.support import importing_shop as shop  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Interactions, their workflow, the features of its sessions, and models by name, with weights drawn at random."""
    frame = shop.interactions()
    workflow = shop.fit(frame, tmp_path_factory.mktemp("shop"))
    schema = workflow.output_schema.excluding_by_name(["session_id"])
    models = record.models(schema)
    for seed, model in enumerate(models.values()):
        torch.manual_seed(seed)
        for parameter in dict.fromkeys(model.parameters()):
            parameter.data.normal_(std=0.4)
        model.eval()
    _, rows = shop.features(workflow, frame)
    return frame, workflow, rows, models


NAMES = [*record.COLUMNS, *("xlnet_mlm", "xlnet_plm", "gpt2_clm", "electra_rtd", "albert_mlm")]


def padded(rows):
    """The sessions' features [B, T], T the window."""
    return {
        name: torch.from_numpy(np.stack([np.pad(row[name], (0, shop.WINDOW - len(row[name]))) for row in rows]))
        for name in rows[0]
    }


@torch.no_grad()
def adapted(model, rows, mask):
    module = from_transformers4rec(model, mask=mask).eval()
    return module.query(padded(rows)) @ module.item_table().T


@pytest.mark.parametrize("name", NAMES)
def test_original_gives_what_the_model_gives_for_padded_sessions(made, name):
    _, _, rows, models = made
    full = next(row for row in rows if len(row[shop.ITEM]) == shop.WINDOW)
    expected = record.scores(models[name], [*rows, full])[:-1]
    torch.testing.assert_close(adapted(models[name], rows, "original"), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "xlnet_plm"])
def test_proper_gives_what_the_model_gives_for_each_session_alone(made, name):
    _, _, rows, models = made
    expected = torch.cat([record.scores(models[name], [row]) for row in rows])
    torch.testing.assert_close(adapted(models[name], rows, "proper"), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("xlnet_sum", {}),
        ("xlnet_multi", {"layout": "fused"}),
        ("xlnet_soft", {}),
        ("electra_rtd", {}),
        ("albert_mlm", {}),
        ("xlnet_readme", {"format": "torchscript"}),
        ("gpt2_clm", {"format": "torchscript"}),
        ("xlnet_mlm", {"scoring": "int8-rerank"}),
    ],
)
def test_a_bundle_is_made_and_filters_act(made, tmp_path, name, options):
    frame, workflow, _, models = made
    model = from_transformers4rec(models[name], mask="original")
    export_bundle(model, workflow, frame, repository=tmp_path, name="shop", options=ExportOptions(**options))
    rows = frame[frame.session_id == 3]
    with OfflineClient(tmp_path / "shop") as client:
        session = {feature.name: rows[feature.name].tolist() for feature in client.signature.features}
        first = client.recommend(session, k=3).item_ids
        assert client.recommend(session, k=2, exclude=[first[0]]).item_ids == first[1:]


def test_null_among_numbers_counts_as_zero(made):
    _, _, rows, models = made
    batch = padded(rows[:5])
    module = from_transformers4rec(models["xlnet_readme"])
    null = batch[shop.PRICE].clone()
    null[:, 0] = torch.nan
    with torch.no_grad():
        asked = module.query({**batch, shop.PRICE: null})
        assert torch.equal(asked, module.query({**batch, shop.PRICE: torch.nan_to_num(null)}))


def test_the_model_stays_as_it_is(made):
    models = made[-1]
    before = pd.Series({name: float(weight.sum()) for name, weight in models["gpt2_clm"].state_dict().items()})
    from_transformers4rec(models["gpt2_clm"])
    assert models["gpt2_clm"].heads[0].body[1].prepare_module is not None
    after = pd.Series({name: float(weight.sum()) for name, weight in models["gpt2_clm"].state_dict().items()})
    assert before.equals(after)
