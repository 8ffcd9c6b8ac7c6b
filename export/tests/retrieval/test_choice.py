from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.runtime.retrieval.ann import AnnRetrieval
from nextitem_bundle.runtime.step import open_step
from nextitem_export import UnsupportedModel
from nextitem_export.retrieval import blocks, choice
from nextitem_export.retrieval.choice import SCORINGS, ScoringChoice, true_best
from nextitem_export.retrieval.formats import write_retrieval
from nextitem_export.retrieval.int8 import main_axes
from nextitem_export.retrieval.module import ModelFeature, Retrieval
from nextitem_export.retrieval.tensors import CODES, SCORES

V, D, K = 20_003, 16, 50
FEATURES = (ModelFeature("item", "feature__0", "int64"), ModelFeature("query", "feature__1", "float32"))
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.standard_normal((V, D)).astype(np.float32)
QUERIES = torch.from_numpy(RANDOM.standard_normal((64, D)).astype(np.float32))
SAMPLE = (torch.full((64, 1), 3), QUERIES)


class Tied(nn.Module):
    """The query comes as a feature, beside the embedding of an item that adds nothing: so the table is read twice."""

    def __init__(self, table: np.ndarray = TABLE) -> None:
        super().__init__()
        self.items = nn.Embedding.from_pretrained(torch.from_numpy(table))

    def query(self, features):
        return features["query"] + 0 * self.items(features["item"][:, 0])

    def item_table(self):
        return self.items.weight


class Direct(nn.Module):
    def forward(self, features):
        return features["query"] @ torch.from_numpy(TABLE).T


def write(folder, scoring: str, model: nn.Module | None = None, format_name: str = "onnx", min_recall: float = 0.0):
    ItemIndex.of(np.arange(V - 3)).save(folder)
    popularity = np.linspace(0, -9, V, dtype=np.float32)
    write_retrieval(
        format_name,
        Retrieval(model or Tied(), FEATURES, "item", popularity, K),
        FEATURES,
        tuple(values[:2] for values in SAMPLE),
        folder,
        threads=1,
        scoring=ScoringChoice(scoring, min_recall),
        sample=SAMPLE,
    )
    return folder


@pytest.fixture(scope="module", params=list(SCORINGS))
def written(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCKS_FROM", 1_000)
        patch.setattr(blocks, "BLOCK", 4_096)
        return request.param, write(tmp_path_factory.mktemp("scored"), request.param)


def asked(queries, excluded=(), allowed=(), width: int = 64):
    def codes(given):
        return np.tile(np.pad(np.array(given, dtype=np.int64), (0, width - len(given))), (len(queries), 1))

    items = np.full((len(queries), 1), 3)
    return {"feature__0": items, "feature__1": queries, "excluded__2": codes(excluded), "allowed__3": codes(allowed)}


def test_scores_are_exact_and_fall_and_recall_is_as_said(written):
    name, folder = written
    answer = open_step(folder).run(asked(QUERIES.numpy()))
    true = np.einsum("bd,bkd->bk", QUERIES.numpy(), TABLE[answer[CODES]])
    np.testing.assert_allclose(answer[SCORES], true, rtol=1e-5, atol=1e-5)
    assert (np.diff(answer[SCORES], axis=1) <= 0).all()
    best = true_best(QUERIES.numpy(), TABLE, 20)
    recall = np.mean(
        [len(np.intersect1d(row, codes[:20])) / 20 for row, codes in zip(best, answer[CODES], strict=True)]
    )
    settings = json.loads((folder / "step.json").read_text())
    assert recall >= (SCORINGS[name].min_recall or 1)
    assert settings["scoring"] == name
    assert (settings["recall_at_20"] or 1) == pytest.approx(recall, abs=1e-5)


def test_products_along_the_main_axes_are_those_of_a_table_that_has_no_others():
    random = np.random.default_rng(3)
    table = random.standard_normal((500, 4)).astype("f4") @ random.standard_normal((4, 16)).astype("f4")
    query = random.standard_normal(16).astype("f4")
    axes = main_axes(table, 4)
    assert axes.shape == (16, 4)
    np.testing.assert_allclose((table @ axes) @ (axes.T @ query), table @ query, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("directions", "width"), [(D // 2, D // 2), (D, D)])
def test_half_the_columns_are_looked_at_where_they_tell_enough(tmp_path, monkeypatch, directions, width):
    monkeypatch.setattr(blocks, "BLOCKS_FROM", 1_000)
    monkeypatch.setattr(choice, "_LOOKS_INT8", ((2, 60), (1, 60)))
    random = np.random.default_rng(5)
    table = np.zeros((V, D), dtype="f4")
    table[:, :directions] = random.standard_normal((V, directions))
    write(tmp_path, "int8-rerank", Tied(table @ np.linalg.qr(random.standard_normal((D, D)))[0].astype("f4")))
    assert json.loads((tmp_path / "step.json").read_text())["first_look"]["width"] == width


def test_one_session_among_others_is_answered_as_alone(written):
    step = open_step(written[1])
    together = step.run(asked(QUERIES.numpy()))
    for row in (0, 5, 63):
        alone = step.run(asked(QUERIES.numpy()[row : row + 1]))
        np.testing.assert_array_equal(alone[CODES][0], together[CODES][row])
        np.testing.assert_allclose(alone[SCORES][0], together[SCORES][row], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [64, 1024])
def test_what_is_excluded_never_comes_and_the_next_ones_do(written, width):
    step, queries = open_step(written[1]), QUERIES.numpy()[:4]
    best = true_best(queries, TABLE, K + 60)
    for row in range(4):
        out = best[row, :60]
        answer = step.run(asked(queries[row : row + 1], excluded=out, width=width))[CODES][0]
        assert not np.isin(answer, out).any()
        assert np.isin(best[row, 60:80], answer).mean() >= 0.9


def test_allow_lists_are_scored_exactly(written):
    allowed = np.arange(100, 160)
    answer = open_step(written[1]).run(asked(QUERIES.numpy()[:3], excluded=[100, 101], allowed=allowed))
    for row in range(3):
        scores = TABLE[102:160] @ QUERIES.numpy()[row]
        assert answer[CODES][row].tolist() == (102 + np.argsort(-scores)[:K]).tolist()


def test_few_available_items_are_found_all(written, tmp_path):
    folder = written[1]
    (folder / AVAILABILITY).write_text(json.dumps({"available": list(range(0, V - 3, 700))}))
    try:
        answer = open_step(folder).run(asked(QUERIES.numpy()[:3]))
    finally:
        (folder / AVAILABILITY).unlink()
    left = np.arange(3, V, 700)
    for row in range(3):
        due = left[np.argsort(-(TABLE[left] @ QUERIES.numpy()[row]))]
        assert answer[CODES][row, : len(due)].tolist() == due[:K].tolist()


def test_the_table_lies_once_in_a_file_that_numpy_reads(written):
    name, folder = written
    tables = [np.load(path, mmap_mode="r") for path in folder.glob("table_*.npy")]
    (floats,) = [table for table in tables if table.dtype == np.float32]
    np.testing.assert_array_equal(floats[:V], TABLE)
    assert len(tables) == (1 if name == "ann" else 2)
    assert (folder / "model.onnx").stat().st_size < 0.3 * TABLE.nbytes


@pytest.mark.parametrize("scoring", ["int8-rerank", "ann"])
def test_what_is_approximate_needs_a_query_and_onnx(scoring, tmp_path):
    with pytest.raises(UnsupportedModel, match=rf"Direct gives scores itself, so scoring '{scoring}' has no table"):
        write(tmp_path, scoring, Direct())
    with pytest.raises(
        UnsupportedModel, match=rf"scoring '{scoring}' is not written as torchscript, only as onnx, onnx_dyn"
    ):
        write(tmp_path, scoring, format_name="torchscript")


def test_a_recall_that_is_not_reached_is_refused_with_what_was_found(tmp_path, monkeypatch):
    monkeypatch.setattr("nextitem_export.retrieval.choice._measured_recall", lambda *_: 0.75)
    with pytest.raises(UnsupportedModel) as caught:
        write(tmp_path, "ann", min_recall=0.9)
    assert "finds 0.7500 of the true 20 best items of the sample's sessions, expected 0.9 or more" in str(caught.value)
    assert "a lower min_recall" in str(caught.value)


def test_more_effort_is_made_until_the_recall_is_reached(tmp_path, monkeypatch):
    found = iter([0.5, 0.8, 0.99])
    monkeypatch.setattr("nextitem_export.retrieval.choice._measured_recall", lambda *_: next(found))
    settings = json.loads((write(tmp_path, "ann") / "step.json").read_text())
    assert settings["probes"] == 64
    assert settings["recall_at_20"] == 0.99


@pytest.mark.parametrize("where", ["export", "load"])
def test_without_faiss_a_sentence_says_what_to_install(where, tmp_path, monkeypatch):
    if where == "load":
        write(tmp_path, "ann")
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(
        (UnsupportedModel, ImportError), match=r"needs faiss, which is not installed.*pip install faiss-cpu"
    ):
        write(tmp_path, "ann") if where == "export" else open_step(tmp_path)


def test_a_search_that_finds_too_few_is_answered_exactly(written, monkeypatch):
    name, folder = written
    if name != "ann":
        pytest.skip("only an index finds too few")
    step = open_step(folder)
    assert isinstance(step, AnnRetrieval)
    monkeypatch.setattr(step._index, "search", lambda *_: np.array([7, 9]))
    answer = step.run(asked(QUERIES.numpy()[:2], excluded=[5]))
    best = true_best(QUERIES.numpy()[:2], TABLE, K + 1)
    assert [codes.tolist() for codes in answer[CODES]] == [row[row != 5][:K].tolist() for row in best]
