"""docs/migrating/hugging-face.md and the code of README.md there, in this project's own environment."""

from __future__ import annotations

import pytest
import torch

from nextitem_client import Client, OfflineClient
from serving_tests.support.processes import running_triton
from tests.migration import pages

#: For a causal model: what is changed in the page.
CAUSAL = {
    "BertConfig, BertForMaskedLM": "GPT2Config, GPT2LMHeadModel",
    "BertForMaskedLM(BertConfig(": "GPT2LMHeadModel(GPT2Config(",
    '{"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}': (
        '{"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 20}'
    ),
    "hidden = (torch.rand(batch.shape) < 0.2) & (batch != 0)": "hidden = batch != 0",
    "model(batch.masked_fill(hidden, 1), ": "model(batch, ",
    ", mask_row=1)": ")",
}


def own_scores(model, rows, clicks, *, masked) -> dict:
    """The model's scores for the bare session, by session and raw id."""
    found = {}
    for session in pages.sessions(clicks):
        tokens = [rows[item] for item in session.item_id][-20:] + [1] * masked
        with torch.no_grad():
            scores = model.eval()(torch.tensor([tokens])).logits[0, -1]
        found[session.session_id.iloc[0]] = {item: float(scores[row]) for item, row in rows.items()}
    return found


@pytest.mark.parametrize("changed", [{}, CAUSAL], ids=["BertForMaskedLM", "GPT2LMHeadModel"])
def test_the_page_exports_what_the_model_answers(changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    code = pages.blocks("hugging-face")
    assert pages.lines(code[-1]) <= 10
    for old, new in changed.items():
        assert any(old in block for block in code)
        code = [block.replace(old, new) for block in code]
    names = pages.run(code, tmp_path)
    own = own_scores(names["model"], names["rows"], names["clicks"], masked=not changed)
    right, faults = pages.agreeing(tmp_path, "hugging_face", names["clicks"], own)
    assert right == pages.SESSIONS, faults
    with (
        running_triton(tmp_path / "model_repository") as server,
        Client(server.http_url, model="hugging_face") as client,
    ):
        right, faults = pages.answered(client, names["clicks"], own)
    assert right == pages.SESSIONS, faults


def test_the_first_page_exports_a_module_with_rows_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = pages.run(pages.blocks("README"), tmp_path)
    module, rows = names["model"].inner, names["rows"]
    items = ["A13", "A16"]
    with torch.no_grad():
        query = module.query({"": torch.tensor([[0] * 18 + [rows[item] for item in items]])})
        scores = (query @ module.item_table().T)[0]
    best = max(rows, key=lambda item: float(scores[rows[item]]))
    with OfflineClient(tmp_path / "model_repository" / "from_rows") as client:
        asked = {"item_id": items, "timestamp": ["2008-08-10T10:00:00", "2008-08-10T10:00:40"]}
        assert client.recommend(asked, k=5).item_ids[0] == best
