"""docs/migrating/rectools.md with the real RecTools: both models, fitted, exported and compared with `recommend`."""

from __future__ import annotations

import pytest
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel

from nextitem_client import Client
from nextitem_export import UnsupportedModel
from nextitem_export.adapters import from_rectools
from serving_tests.support.processes import running_triton
from tests.migration import pages


def own_scores(model, interactions, clicks) -> dict:
    """The library's scores by session and raw id, of sessions that have an item it knows."""
    asked = [session.session_id.iloc[0] for session in pages.sessions(clicks)]
    dataset = Dataset.construct(interactions[interactions[Columns.User].isin(asked)])
    items = len(model.data_preparator.get_known_item_ids())
    answer = model.recommend(users=asked, dataset=dataset, k=items, filter_viewed=False)
    return {
        session_id: dict(zip(rows[Columns.Item], rows[Columns.Score], strict=True))
        for session_id, rows in answer.groupby(Columns.User)
    }


#: Of the page's model, and what is changed in it.
CHANGED = {
    "SASRecModel": {},
    "BERT4RecModel": {"SASRecModel": "BERT4RecModel"},
    "cosine": {"epochs=1)": 'epochs=1, similarity_module_kwargs={"distance": "cosine"})'},
    "fewer interactions in the workflow": {
        "ListSlice(-20)": "ListSlice(-10)",
        "session_max_len=20": "session_max_len=10",
    },
}


@pytest.mark.parametrize("name", CHANGED)
def test_the_page_exports_what_the_library_answers(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    code = pages.blocks("rectools")
    assert pages.lines(code[-1]) <= 10
    for old, new in CHANGED[name].items():
        assert any(old in block for block in code)
        code = [block.replace(old, new) for block in code]
    names = pages.run(code, tmp_path)
    own = own_scores(names["model"], names["interactions"], names["clicks"])
    right, faults = pages.agreeing(tmp_path, "rectools", names["clicks"], own)
    assert right == pages.SESSIONS, faults
    with running_triton(tmp_path / "model_repository") as server, Client(server.http_url, model="rectools") as client:
        right, faults = pages.answered(client, names["clicks"], own)
    assert right == pages.SESSIONS, faults


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (SASRecModel(), "SASRecModel is not fitted: call its fit"),
        (torch.nn.Linear(1, 1), "the model is Linear, expected a transformer model of RecTools"),
    ],
)
def test_what_was_not_fitted_is_refused(model, part):
    with pytest.raises(UnsupportedModel) as caught:
        from_rectools(model)
    assert part in str(caught.value)


def test_a_model_that_reads_times_is_refused():
    model = HSTUModel(relative_time_attention=True)
    model.is_fitted = True
    with pytest.raises(UnsupportedModel, match="HSTUModel reads the times of interactions"):
        from_rectools(model)


def test_attention_is_as_it_was_after_an_export():
    assert torch.backends.mha.get_fastpath_enabled()
    assert BERT4RecModel  # whose export switches the kernel off
