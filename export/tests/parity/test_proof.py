"""A first look in 8 bits: its bound holds, what is proven is exact, and what is not proven is scanned again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, PADDING
from nextitem_bundle.runtime.step import open_step
from nextitem_export.retrieval import blocks, graph
from nextitem_export.retrieval.blocks import FEW
from nextitem_export.retrieval.choice import true_best
from nextitem_export.retrieval.formats import write_retrieval
from nextitem_export.retrieval.int8 import ZERO, quantize_table, rounded_query, scored_to_prove
from nextitem_export.retrieval.module import ModelFeature, Retrieval
from nextitem_export.retrieval.tensors import CODES, SCORES

V, D, K = 6_000, 16, 20
FEATURES = (ModelFeature("item", "feature__0", "int64"), ModelFeature("query", "feature__1", "float32"))
RANDOM = np.random.default_rng(0)
CROWD = RANDOM.standard_normal(D).astype(np.float32)
#: Half of the items are spread out; the others stand so close together that 8 bits cannot tell which of them are the best.
TABLE = np.concatenate(
    [
        RANDOM.standard_normal((V // 2, D)),
        CROWD + 1e-3 * RANDOM.standard_normal((V // 2, D)),
    ]
).astype(np.float32)
APART = RANDOM.standard_normal((40, D)).astype(np.float32)
APART -= np.outer(APART @ CROWD, CROWD) / (CROWD @ CROWD)


class Given(nn.Module):
    """The query comes as a feature."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.from_numpy(TABLE), requires_grad=False)

    def query(self, features):
        return features["query"]

    def item_table(self):
        return self.items


def write(folder, queries: np.ndarray):
    """The step of an exact retrieval whose sample asks these queries."""
    ItemIndex.of(np.arange(V - FIRST_ITEM)).save(folder)
    sample = (torch.full((len(queries), 1), FIRST_ITEM), torch.from_numpy(queries))
    retrieval = Retrieval(Given(), FEATURES, "item", np.zeros(V, np.float32), K)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCKS_FROM", 1_000)
        patch.setattr(blocks, "BLOCK", 4_096)
        write_retrieval("onnx", retrieval, FEATURES, tuple(v[:2] for v in sample), folder, threads=1, sample=sample)
    return open_step(folder)


def ask(step, queries: np.ndarray):
    none = np.zeros((len(queries), 64), dtype=np.int64)
    items = np.full((len(queries), 1), FIRST_ITEM)
    return step.run({"feature__0": items, "feature__1": queries, "excluded__2": none, "allowed__3": none})


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-6, 1.0, 1e4]), spread=st.sampled_from([0.0, 3.0]))
def test_no_sum_is_further_from_its_score_than_the_bound_says(seed, scale, spread):
    random = np.random.default_rng(seed)
    table = (scale * random.standard_normal((50, D)) * np.exp(spread * random.standard_normal((50, 1)))).astype("f4")
    query = random.standard_normal(D).astype("f4")
    quantized = quantize_table(table)
    rounded, unit = rounded_query(query)
    sums = (quantized.values.astype(np.int64) - ZERO) @ rounded.astype(np.int64)
    of_table, of_query = quantized.error_factors
    bound = of_table * np.linalg.norm(query) + of_query * np.linalg.norm(query - rounded * unit)
    assert (np.abs(table.astype(float) @ query - sums * unit * quantized.scale) <= bound).all()


def test_a_crowd_of_equals_needs_more_exact_scores_than_items_that_stand_apart():
    apart, crowd = scored_to_prove(TABLE, quantize_table(TABLE), np.stack([APART[0], CROWD]), K)
    assert K <= apart < 200
    assert crowd > 1_000


def test_what_is_not_proven_is_scanned_again(tmp_path):
    queries = np.concatenate([APART[:3], CROWD[None]])
    step = write(tmp_path, APART)
    assert "penalty" in step_constants(tmp_path)
    for batch in (queries, queries[:1], queries[3:]):
        answer = ask(step, batch)
        assert answer[CODES].tolist() == true_best(batch, TABLE, K).tolist()
        true = np.einsum("bd,bkd->bk", batch, TABLE[answer[CODES]])
        np.testing.assert_allclose(answer[SCORES], true, rtol=1e-5, atol=1e-5)


def test_only_what_is_not_proven_is_scanned_again(tmp_path, monkeypatch):
    """A second scan that finds nothing shows where it is asked."""

    def nothing(nodes, asked, catalogue):
        shape = nodes.add("Concat", nodes.add("Shape", asked.newest, start=0, end=1), asked.reach, axis=0)
        return tuple(nodes.add("Expand", nodes.constant(v), shape) for v in (np.float32(-np.inf), np.int64(PADDING)))

    monkeypatch.setattr(graph, "_exact_blocks", lambda *_: nothing)
    step = write(tmp_path, APART)
    proven, crowded = ask(step, APART[:3]), ask(step, CROWD[None])
    assert proven[CODES].tolist() == true_best(APART[:3], TABLE, K).tolist()
    assert crowded[CODES].tolist() == [[PADDING] * K]
    many = ask(step, np.tile(APART[:1], (FEW + 1, 1)))
    assert many[CODES].tolist() == [[PADDING] * K] * (FEW + 1)  # too many for a look


def test_a_batch_of_many_sessions_is_scanned_at_once(tmp_path):
    queries = np.concatenate([APART[:FEW], CROWD[None]])
    assert ask(write(tmp_path, APART), queries)[CODES].tolist() == true_best(queries, TABLE, K).tolist()


def test_where_the_sample_s_sessions_cannot_be_proven_there_is_no_first_look(tmp_path):
    step = write(tmp_path, np.tile(CROWD, (5, 1)))
    assert "penalty" not in step_constants(tmp_path)
    assert ask(step, CROWD[None])[CODES].tolist() == true_best(CROWD[None], TABLE, K).tolist()


def step_constants(folder):
    return json.loads((folder / "step.json").read_text())["ranking"]["constants"].values()
