"""Further heads of a session model: in every format and scoring of the retrieval step's graph, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.signature import Head
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, UNKNOWN
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export import UnsupportedModel
from nextitem_export.retrieval.choice import SCORINGS, ScoringChoice
from nextitem_export.retrieval.formats import write_retrieval
from nextitem_export.retrieval.module import ModelFeature, Retrieval, heads_of
from nextitem_export.retrieval.tensors import OUTPUTS

V, D, T = 3000, 8, 4
FEATURES = (ModelFeature("item", "feature__0", "int64"),)
SESSIONS = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8], [9, 0, 0, 0], [40, 41, 40, 0]])
HEADS = ("head__3", "head__4")


class WithHeads(nn.Module):
    """A body of one layer over the weighted steps, whose output is the query and what both heads read."""

    def __init__(self) -> None:
        super().__init__()
        self.head_widths = {"is_buy": 1, "style": 3}
        torch.manual_seed(0)
        self.items = nn.Embedding(V, D)
        self.body = nn.Linear(T * D, D)
        self.is_buy, self.style = nn.Linear(D, 1), nn.Linear(D, 3)

    def query(self, features):
        return self.query_and_heads(features)[0]

    def query_and_heads(self, features):
        query = torch.tanh(self.body(self.items(features["item"]).flatten(1)))
        return query, {"style": 1e4 * self.style(query), "is_buy": torch.sigmoid(self.is_buy(query))}

    def item_table(self):
        return self.items.weight


class ScoresAndHeads(WithHeads):
    """The same as a model without a query."""

    query = property(lambda self: (_ for _ in ()).throw(AttributeError("query")))

    def forward(self, features):
        return self.forward_and_heads(features)[0]

    def forward_and_heads(self, features):
        query, heads = self.query_and_heads(features)
        return query @ self.items.weight.T, heads


def retrieval(model: nn.Module) -> Retrieval:
    popularity = np.zeros(V, np.float32)
    popularity[:FIRST_ITEM] = LOWEST_FLOAT32
    return Retrieval(model, FEATURES, "item", popularity, 5, heads_of(model)).eval()


def written(folder, model: nn.Module, format_name: str = "onnx", scoring: str = "exact"):
    ItemIndex.of(np.arange(V - FIRST_ITEM)).save(folder)
    write_retrieval(
        format_name, retrieval(model), FEATURES, (SESSIONS[:2],), folder, threads=1, scoring=ScoringChoice(scoring),
        sample=(SESSIONS,),
    )  # fmt: skip
    return open_step(folder)


def asked(items: torch.Tensor) -> dict[str, np.ndarray]:
    none = np.zeros((len(items), 64), dtype=np.int64)
    return {"feature__0": items.numpy(), "excluded__1": none, "allowed__2": none}


def assert_as_eager(step, model: nn.Module) -> None:
    with torch.no_grad():
        _, heads = model.eval().query_and_heads({"item": SESSIONS})
    answer = step.run(asked(SESSIONS))
    assert step.outputs == (*OUTPUTS, *HEADS)
    for tensor, name in zip(HEADS, model.head_widths, strict=True):
        assert answer[tensor].dtype == np.float32
        np.testing.assert_allclose(answer[tensor], heads[name], rtol=1e-5, atol=1e-4)
        assert len(np.unique(answer[tensor], axis=0)) == len(SESSIONS)  # else any row would do for any other
    unknown = torch.full((1, T), UNKNOWN)
    answer = step.run(asked(torch.cat([unknown, SESSIONS[:1], torch.zeros_like(unknown)])))
    for tensor, name in zip(HEADS, model.head_widths, strict=True):
        assert (answer[tensor][[0, 2]] == np.float32(LOWEST_FLOAT32)).all()
        np.testing.assert_allclose(answer[tensor][1], heads[name][0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("format_name", "kind"),
    [
        ("onnx", WithHeads),
        pytest.param("onnx_dynamo", WithHeads, marks=pytest.mark.slow),
        ("torchscript", WithHeads),
        ("onnx", ScoresAndHeads),
        ("torchscript", ScoresAndHeads),
    ],
)
def test_heads_are_as_the_eager_model_s_and_null_without_a_known_item(tmp_path, format_name, kind):
    model = kind()
    assert_as_eager(written(tmp_path, model, format_name), model)


@pytest.mark.parametrize("scoring", [name for name in SCORINGS if name != "exact"])
def test_every_scoring_keeps_the_heads(tmp_path, scoring):
    model = WithHeads()
    assert_as_eager(written(tmp_path, model, scoring=scoring), model)


def test_the_body_runs_once(tmp_path):
    written(tmp_path, WithHeads())
    nodes = onnx.load(str(tmp_path / "model.onnx")).graph.node
    assert [node.op_type for node in nodes].count("Tanh") == 1


class Odd(WithHeads):
    """Its heads are no numbers."""

    def query_and_heads(self, features):
        query, heads = super().query_and_heads(features)
        nothing = torch.zeros_like(heads["is_buy"])
        return query, {"is_buy": nothing / nothing, "style": torch.cat([1 / nothing, -1 / nothing, nothing], dim=1)}


@pytest.mark.parametrize("format_name", ["onnx", "torchscript"])
def test_what_is_no_number_is_null(tmp_path, format_name):
    answer = written(tmp_path, Odd(), format_name).run(asked(SESSIONS))
    lowest = np.float32(LOWEST_FLOAT32)
    assert (answer["head__3"] == lowest).all()
    np.testing.assert_array_equal(answer["head__4"], np.tile([lowest, lowest, np.float32(0)], (len(SESSIONS), 1)))


def test_a_model_without_heads_has_none():
    assert heads_of(nn.Linear(1, 1)) == ()
    model = WithHeads()
    assert heads_of(model) == (Head("is_buy", 1), Head("style", 3))
    model.head_widths = {}
    assert heads_of(model) == ()


@pytest.mark.parametrize(
    ("widths", "part"),
    [
        (["is_buy"], r"head_widths is \['is_buy'\], expected a dict from each head's name"),
        ({"is_buy": 0}, r"head_widths is \{'is_buy': 0\}, expected .* 1 or more"),
        ({"is_buy": True}, "expected a dict"),
        ({"is buy": 1}, "has a head named 'is buy'.*letters, digits and underscores, a letter first"),
        ({3: 1}, "has a head named 3"),
    ],
)
def test_a_declaration_that_is_none_is_refused(widths, part):
    model = WithHeads()
    model.head_widths = widths
    with pytest.raises(UnsupportedModel, match=part):
        heads_of(model)


def test_heads_that_nothing_gives_are_refused():
    model = nn.Linear(1, 1)
    model.head_widths = {"is_buy": 1}
    with pytest.raises(
        UnsupportedModel, match=r"no forward_and_heads\(\): give it forward_and_heads\(features\) -> \(scores"
    ):
        heads_of(model)
    model.query = lambda features: features
    with pytest.raises(UnsupportedModel, match=r"no query_and_heads\(\): .* -> \(query \[B, D\], \{name: \[B, N\]\}\)"):
        heads_of(model)


@pytest.mark.parametrize(
    ("widths", "part"),
    [
        ({"is_buy": 1}, r"gives the heads style, is_buy, head_widths names is_buy: let both name the same"),
        ({"is_buy": 1, "style": 2}, r"gives 'style' as \[2, 3\], expected \[B, 2\] as in head_widths"),
    ],
)
def test_other_heads_than_declared_are_refused(tmp_path, widths, part):
    model = WithHeads()
    model.head_widths = widths
    with pytest.raises(UnsupportedModel, match=part):
        written(tmp_path, model)
