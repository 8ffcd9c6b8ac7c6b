from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from export.tests.support.formats import EACH_FORMAT
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.runtime.special_ids import COLD, EMPTY, FIRST_ITEM, OK, PADDING, UNKNOWN
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export import UnsupportedModel
from nextitem_export.retrieval import blocks
from nextitem_export.retrieval.choice import ScoringChoice
from nextitem_export.retrieval.formats import write_retrieval
from nextitem_export.retrieval.module import ModelFeature, Retrieval
from nextitem_export.retrieval.tensors import OUTPUTS

V = 9
#: Fewer and more than the six items that there are.
K = (1, 4, 12)
ITEMS, SCORES = ModelFeature("item", "feature__0", "int64"), ModelFeature("score", "feature__1", "float32")
POPULARITY = np.array([LOWEST_FLOAT32] * 3 + [-1, -2, -2, -3, -1, -4], dtype=np.float32)


class Given(nn.Module):
    """Answers with the scores [B, V] that came as a feature."""

    def forward(self, features):
        return features["score"]


class GivenByQuery(nn.Module):
    """The same as query and item table: each score is its query's product with a unit vector."""

    def query(self, features):
        return features["score"]

    def item_table(self):
        return torch.eye(V)


def retrieval(k: int, model: nn.Module | None = None) -> Retrieval:
    return Retrieval(model or Given(), (ITEMS, SCORES), "item", POPULARITY, k).eval()


CATALOGUE = np.arange(100, 100 + V - FIRST_ITEM)  # raw ids by code from 3
ALL = torch.ones(V, dtype=torch.bool)
EXAMPLE = (torch.tensor([[3, 0], [4, 5]]), torch.rand(2, V))


def free(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """No filters."""
    none = torch.zeros(rows, 64, dtype=torch.int64)
    return none, none, torch.ones(V, dtype=torch.bool)


class Eager:
    def __init__(self, module: Retrieval, available: torch.Tensor = ALL) -> None:
        self._module = module
        self._available = available

    def run(self, tensors):
        with torch.no_grad():
            answer = self._module(*(torch.from_numpy(values) for values in tensors.values()), self._available)
        return {name: values.numpy() for name, values in zip(OUTPUTS, answer, strict=True)}


class Written:
    """The retrieval step's step in a folder."""

    def __init__(
        self, format_name: str, k: int, folder: Path, model: nn.Module | None = None, scoring: str = "exact"
    ) -> None:
        ItemIndex.of(CATALOGUE).save(folder)
        choice = ScoringChoice(scoring)
        write_retrieval(format_name, retrieval(k, model), (ITEMS, SCORES), EXAMPLE, folder, threads=1, scoring=choice)
        self._folder = folder

    def open(self, unavailable: list[int]):
        ids = CATALOGUE[np.array(unavailable, dtype=int) - FIRST_ITEM].tolist()
        (self._folder / AVAILABILITY).write_text(json.dumps({"unavailable": ids}))
        return open_step(self._folder)


#: The retrieval step as written for larger catalogues, by scoring and sizes: groups of two, the last one filled up.
BLOCKWISE = {"GROUP": 2, "BLOCK": 4, "BLOCKS_FROM": 4}
LARGE = {
    "onnx in blocks": ("exact", BLOCKWISE),
    "onnx in blocks at once": ("exact", {**BLOCKWISE, "BLOCK": 16}),
    "onnx by int8": ("int8-rerank", {"GROUP": 2}),
    "onnx by int8 in blocks": ("int8-rerank", BLOCKWISE),
    "onnx by an index": ("ann", {}),
}
ENGINES = ["eager", *EACH_FORMAT, *LARGE]


def written(name: str, k: int, folder: Path) -> Written:
    if name not in LARGE:
        return Written(name, k, folder)
    scoring, sizes = LARGE[name]
    with pytest.MonkeyPatch.context() as patch:
        for size, value in sizes.items():
            patch.setattr(blocks, size, value)
        return Written("onnx", k, folder, GivenByQuery(), scoring)


@pytest.fixture(scope="module", params=ENGINES)
def engines(request, tmp_path_factory):
    """The retrieval step by k."""
    if request.param == "eager":
        return {k: Eager(retrieval(k)) for k in K}
    return {k: written(request.param, k, tmp_path_factory.mktemp("retrieval")).open([]) for k in K}


@pytest.fixture(scope="module", params=ENGINES)
def engine_without(request, tmp_path_factory):
    """Opens the retrieval step of 4 items without the codes that are unavailable."""
    if request.param != "eager":
        return written(request.param, 4, tmp_path_factory.mktemp("retrieval")).open

    def eager(unavailable: list[int]) -> Eager:
        available = ALL.clone()
        available[unavailable] = False
        return Eager(retrieval(4), available)

    return eager


def codes_of(lists, rows: int, width: int = 64) -> np.ndarray:
    """Encoded filters int64 [B, P], padded on the right with 0."""
    padded = np.full((rows, width), PADDING, dtype=np.int64)
    for row, codes in enumerate(lists):
        padded[row, : len(codes)] = codes
    return padded


def run(engine, items, scores, excluded=(), allowed=(), width: int = 64):
    tensors = {
        "feature__0": np.array(items, dtype=np.int64),
        "feature__1": np.array(scores, dtype=np.float32),
        "excluded__2": codes_of(excluded, len(items), width),
        "allowed__3": codes_of(allowed, len(items), width),
    }
    answer = engine.run(tensors)
    assert [answer[name].dtype for name in OUTPUTS] == [np.int64, np.float32, np.int32]
    return answer


def expected(scores, k: int, barred=()) -> tuple[list[int], list[float]]:
    """By the contract, in plain Python: best first, ties lower code first, filled up with padding."""
    items = [code for code in range(FIRST_ITEM, V) if scores[code] > LOWEST_FLOAT32 and code not in barred]
    best = sorted(items, key=lambda code: (-scores[code], code))[:k]
    missing = k - len(best)
    return best + [PADDING] * missing, [float(scores[code]) for code in best] + [LOWEST_FLOAT32] * missing


few_values = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0, LOWEST_FLOAT32])
rows = st.lists(few_values, min_size=V, max_size=V)


@given(batch=st.lists(rows, min_size=1, max_size=5))
def test_ties_go_to_the_lower_code_and_special_codes_never_come(engines, batch):
    for k, engine in engines.items():
        answer = run(engine, [[3, 0]] * len(batch), batch)
        for row, scores in enumerate(batch):
            codes, best = expected(scores, k)
            assert answer["codes__0"][row].tolist() == codes
            assert answer["scores__1"][row].tolist() == best
        assert answer["status__2"].tolist() == [[OK]] * len(batch)


def test_ties_are_broken_by_code_in_wide_catalogues_too():
    """Sorts are stable by chance for a few values."""
    torch.manual_seed(0)
    scores = torch.randint(0, 3, (2, 4000)).float()
    popularity = np.zeros(4000, np.float32)
    module = Retrieval(Given(), (ITEMS, SCORES), "item", popularity, 500)
    codes, best, _ = module(torch.tensor([[3], [3]]), scores, *free(2)[:2], torch.ones(4000, dtype=torch.bool))
    for row in range(2):
        due = sorted(range(FIRST_ITEM, 4000), key=lambda code: (-scores[row, code], code))[:500]
        assert codes[row].tolist() == due
        assert best[row].tolist() == scores[row][due].tolist()


@pytest.mark.parametrize("wrong", [-np.inf, np.nan])
def test_a_score_that_json_cannot_carry_is_no_recommendation(engines, wrong, request):
    if request.node.callspec.params["engines"] in LARGE:
        pytest.skip("a query's product with a unit vector is NaN where any score is infinite")
    scores = np.full(V, wrong, dtype=np.float32)
    scores[[4, 7]] = 1, 2
    answer = run(engines[12], [[3, 0]], [scores])
    assert np.isfinite(answer["scores__1"]).all()
    if not np.isnan(wrong):  # where NaN stands in a ranking is no one's promise: the gate refuses models that give it
        assert answer["codes__0"].tolist() == [[7, 4] + [PADDING] * 10]


@pytest.mark.parametrize(
    ("items", "status"),
    [([3, 0], OK), ([2, 3], OK), ([2, 1], COLD), ([1, 0], COLD), ([2, 0], COLD), ([0, 0], EMPTY)],
)
def test_sessions_without_a_known_item_get_the_popular_ones(engines, items, status):
    scores = np.arange(V, dtype=np.float32)
    answer = run(engines[4], [items, [3, 3]], [scores, scores])
    assert answer["status__2"].tolist() == [[status], [OK]]
    codes, best = expected(scores if status == OK else POPULARITY, 4)
    assert answer["codes__0"][0].tolist() == codes
    assert answer["scores__1"][0].tolist() == best


items_listed = st.lists(st.integers(FIRST_ITEM, V - 1), max_size=V)
filters = st.tuples(items_listed, st.lists(st.integers(UNKNOWN, V - 1), max_size=V), st.sampled_from([3, 2, 0]))


def barred_by(excluded: list[int], allowed: list[int]) -> set[int]:
    """The rules of the contract for one session."""
    return set(excluded) | ({*range(V)} - {*allowed} if allowed else set())


@given(batch=st.lists(st.tuples(rows, filters), min_size=1, max_size=5), width=st.sampled_from([64, 1024]))
def test_filters_act_before_top_k_and_leave_ties_in_order(engines, batch, width):
    scores = [row for row, _ in batch]
    excluded, allowed, items = zip(*(drawn for _, drawn in batch), strict=True)
    for k, engine in engines.items():
        answer = run(engine, [[code, 0] for code in items], scores, excluded, allowed, width)
        for row, item in enumerate(items):
            ranked = scores[row] if item == 3 else POPULARITY  # cold and empty sessions are filtered as well
            codes, best = expected(ranked, k, barred_by(excluded[row], allowed[row]))
            assert answer["codes__0"][row].tolist() == codes
            assert answer["scores__1"][row].tolist() == best
        assert answer["status__2"][:, 0].tolist() == [{3: OK, 2: COLD, 0: EMPTY}[item] for item in items]


def test_as_many_items_come_as_the_catalogue_has_left(engines):
    scores = np.arange(V, dtype=np.float32)
    answer = run(engines[4], [[3, 0]] * 4, [scores] * 4, [[8], [8, 7], [8, 7, 6], [3, 4, 5, 6, 7, 8]])
    assert answer["codes__0"].tolist() == [[7, 6, 5, 4], [6, 5, 4, 3], [5, 4, 3, PADDING], [PADDING] * 4]
    assert answer["scores__1"][3].tolist() == [LOWEST_FLOAT32] * 4


@pytest.mark.parametrize(("excluded", "allowed"), [([], [UNKNOWN]), ([4], [4]), (list(range(3, V)), [])])
@pytest.mark.parametrize("item", [3, 2, 0])
def test_filters_that_leave_nothing_give_nothing(engines, item, excluded, allowed):
    answer = run(engines[12], [[item, 0]], [np.arange(V)], [excluded], [allowed])
    assert answer["codes__0"].tolist() == [[PADDING] * 12]
    assert answer["scores__1"].tolist() == [[LOWEST_FLOAT32] * 12]


def test_one_session_s_filters_do_not_touch_another(engines):
    scores = np.arange(V, dtype=np.float32)
    answer = run(engines[4], [[3, 0]] * 3, [scores] * 3, [[8], [], []], [[], [], [5]])
    assert answer["codes__0"].tolist() == [[7, 6, 5, 4], [8, 7, 6, 5], [5, PADDING, PADDING, PADDING]]


@given(scores=rows, unavailable=st.sets(st.integers(FIRST_ITEM, V - 1)), drawn=filters)
def test_what_is_unavailable_comes_to_nobody(engine_without, scores, unavailable, drawn):
    excluded, allowed, item = drawn
    answer = run(engine_without(sorted(unavailable)), [[item, 0]], [scores], [excluded], [allowed])
    barred = barred_by(excluded, allowed) | unavailable
    codes, best = expected(scores if item == 3 else POPULARITY, 4, barred)
    assert answer["codes__0"].tolist() == [codes]
    assert answer["scores__1"].tolist() == [best]


class Table(nn.Module):
    """query is the mean embedding; the item table is what `change` makes of the weight."""

    def __init__(self, rows: int = V, change=lambda weight: weight) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.items = nn.Embedding(rows, 4)
        self.change = change

    def query(self, features):
        return self.items(features["item"]).mean(1)

    def item_table(self):
        return self.change(self.items.weight)


@pytest.mark.parametrize(
    ("change", "computed"),
    [(lambda weight: weight, False), (lambda weight: weight / weight.norm(dim=1, keepdim=True), True)],
)
def test_scores_are_the_query_times_the_item_table(change, computed):
    model = Table(change=change).eval()
    module = retrieval(4, model)
    items = torch.tensor([[3, 4], [8, 2]])
    with torch.no_grad():
        codes, best, _ = module(items, torch.zeros(2, V), *free(2))
        true = model.query({"item": items}) @ model.item_table().T
    assert module.scorer.computed == computed
    for row in range(2):
        assert codes[row].tolist() == expected(true[row].numpy(), 4)[0]
        torch.testing.assert_close(best[row], true[row][codes[row]])


class Direct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(V, V)

    def forward(self, features):
        return self.rows(features["item"]).mean(1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", [Table, Direct])
def test_a_model_of_another_precision_scores_in_float32(dtype, kind):
    codes, best, _ = retrieval(2, kind().to(dtype))(torch.tensor([[3, 4]]), torch.zeros(1, V), *free(1))
    assert best.dtype == torch.float32
    assert (codes >= FIRST_ITEM).all()


def test_a_query_without_a_table_is_refused():
    class Half(nn.Module):
        def query(self, features):
            return features["score"]

    with pytest.raises(UnsupportedModel) as caught:
        retrieval(4, Half())
    assert "Half has query() but no item_table()" in str(caught.value)
    assert "[V, D]" in str(caught.value)


def test_a_table_of_another_workflow_is_refused():
    with pytest.raises(UnsupportedModel) as caught:
        retrieval(4, Table(rows=V + 1))
    assert f"has {V + 1} rows" in str(caught.value)
    assert f"has {V} codes" in str(caught.value)
    assert "the workflow that the model was trained with" in str(caught.value)


@pytest.mark.parametrize(
    ("forward", "came"),
    [
        (lambda f: f["score"][:, :1], "[2, 1]"),
        (lambda f: f["score"][:, 0], "[2]"),
        (lambda f: (f["score"],), "tuple of 1"),
        (lambda f: {"next": f["score"], "loss": 0}, "dict with 'next', 'loss'"),
        (lambda f: None, "NoneType"),
    ],
)
@pytest.mark.parametrize("format_name", EACH_FORMAT)
def test_scores_of_another_shape_are_refused(format_name, forward, came, tmp_path):
    class Wrong(nn.Module):
        def forward(self, features):
            return forward(features)

    with pytest.raises(UnsupportedModel) as caught:
        write_retrieval(format_name, retrieval(4, Wrong()), (ITEMS, SCORES), EXAMPLE, tmp_path, threads=1)
    assert str(caught.value).startswith(f"Wrong.forward(features) gives {came}, expected scores [B, {V}]")
    assert ("put a module around the model" in str(caught.value)) == (came[:5] in ("tuple", "dict "))


@pytest.mark.parametrize(
    ("query", "came", "remedy"),
    [
        (lambda query: (query, None), "tuple of 2", ": put a module around the model"),
        (lambda query: {"query": query}, "dict with 'query'", ": put a module around the model"),
        (lambda query: query[:, :1], "[2, 1]", ""),
        (lambda query: query[0], "[4]", ""),
    ],
)
@pytest.mark.parametrize("format_name", EACH_FORMAT)
def test_a_query_of_another_shape_is_refused(format_name, query, came, remedy, tmp_path):
    class Wrong(Table):
        def query(self, features):
            return query(super().query(features))

    with pytest.raises(UnsupportedModel) as caught:
        write_retrieval(format_name, retrieval(4, Wrong()), (ITEMS, SCORES), EXAMPLE, tmp_path, threads=1)
    start = f"Wrong.query(features) gives {came}, expected the query [B, 4], as wide as item_table()"
    assert str(caught.value).startswith(start + remedy)


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        (nn.Embedding(V, 3), ["gives Embedding, expected a tensor [V, D]", "give its weight"]),
        (torch.zeros(V), [f"gives [{V}], expected a tensor [V, D], one row for each code"]),
        ((torch.zeros(V, 3), None), ["gives tuple of 2, expected a tensor [V, D]", "put a module around"]),
    ],
)
def test_an_item_table_that_is_no_table_is_refused(table, parts):
    class Wrong(Table):
        def item_table(self):
            return table

    with pytest.raises(UnsupportedModel) as caught:
        retrieval(4, Wrong())
    assert str(caught.value).startswith("Wrong.item_table() ")
    for part in parts:
        assert part in str(caught.value)
