"""docs/migrating/recbole.md with the real RecBole: three models, trained, exported and compared with `full_sort_predict`."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from recbole.model.sequential_recommender import HGN, STAMP

from nextitem_client import Client
from nextitem_export import UnsupportedModel
from nextitem_export.adapters import from_recbole
from serving_tests.support.processes import running_triton
from tests.migration import pages


def own_scores(model, dataset, clicks) -> dict:
    """The library's scores by session and raw id."""
    model.eval().cpu()
    row_of, tokens = dataset.field2token_id["item_id"], dataset.field2id_token["item_id"]
    found = {}
    for session in pages.sessions(clicks):
        rows = [row_of[item] for item in session.item_id][-model.max_seq_length :]
        items = torch.tensor([rows + [0] * (model.max_seq_length - len(rows))])
        with torch.no_grad():
            scores = model.full_sort_predict({model.ITEM_SEQ: items, model.ITEM_SEQ_LEN: torch.tensor([len(rows)])})[0]
        found[session.session_id.iloc[0]] = dict(zip(tokens[1:], scores[1:].tolist(), strict=True))
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The names of the page that ran last."""
    return {}


@pytest.mark.parametrize("kind", ["SASRec", "GRU4Rec", "NARM"])
def test_the_page_exports_what_the_library_answers(kind, tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["page"])  # in which RecBole looks for settings
    code = [block.replace("SASRec", kind) for block in pages.blocks("recbole")]
    assert pages.lines(code[-1]) <= 10
    names = pages.run(code, tmp_path)
    trained |= names
    own = own_scores(names["model"], names["dataset"], names["clicks"])
    right, faults = pages.agreeing(tmp_path, "recbole", names["clicks"], own)
    assert right == pages.SESSIONS, faults
    with running_triton(tmp_path / "model_repository") as server, Client(server.http_url, model="recbole") as client:
        right, faults = pages.answered(client, names["clicks"], own)
    assert right == pages.SESSIONS, faults


def test_a_model_that_scores_in_its_own_way_is_exported_by_its_scores(trained):
    model = copy.deepcopy(trained["model"])
    plain = model.full_sort_predict
    model.full_sort_predict = lambda interaction: torch.tanh(plain(interaction))
    assert not hasattr(from_recbole(model, trained["dataset"]), "query")
    assert hasattr(from_recbole(trained["model"], trained["dataset"]), "query")


def test_an_empty_session_is_no_error(trained):
    adapted = from_recbole(trained["model"], trained["dataset"])
    adapted.bind("items")
    assert torch.isfinite(adapted.query({"items": torch.zeros(1, 20, dtype=torch.int64)})).all()


def test_a_model_that_reads_users_is_refused(trained):
    config, dataset = trained["config"], trained["dataset"]
    for name, value in {"pooling_type": "average", "reg_weight": [0.0, 0.0], "loss_type": "CE"}.items():
        config[name] = value
    with pytest.raises(
        UnsupportedModel, match=r"HGN.full_sort_predict fails for sessions that have item_id_list and item_length"
    ):
        from_recbole(HGN(config, dataset), dataset)


def test_another_sequential_model_is_a_query_too(trained):
    config, dataset = trained["config"], trained["dataset"]
    assert hasattr(from_recbole(STAMP(config, dataset), dataset), "query")


def test_what_is_no_model_of_recbole_is_refused(trained):
    with pytest.raises(
        UnsupportedModel, match=r"Linear has no ITEM_ID, .* expected a trained sequential model of RecBole"
    ):
        from_recbole(torch.nn.Linear(1, 1), trained["dataset"])
