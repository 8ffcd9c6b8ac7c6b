"""Models with rows of their own: the bundle's answers against those of the module, padded by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from nvtabular import ops
from torch import nn

from export.tests.support.items_shop import ITEMS, NUMBERS, STRINGS, Asked, agrees, clicks, exported, fit
from nextitem_export import ExportError, ParityError, UnsupportedModel
from nextitem_export.adapters import from_rows
from nextitem_export.parity.cases import Case
from nextitem_export.parity.gate import Gate
from nextitem_export.parity.items import ItemReference, ModelRows
from nextitem_export.parity.reference import Reference
from nextitem_export.retrieval.model import by_code
from nextitem_export.workflow.item_values import ItemValues

#: Of the workflow's ListSlice in `fit`.
WINDOW = 4
#: Rows that no item has stand between those of items; row 0 and 1 are no item's either.
ROWS = [7, 3, 12, 5, 9, 2, 11, 4, 10]
TABLE = 14


class Query(nn.Module):
    """Every place counts in its own way, those with padding too."""

    def __init__(self, width: int = WINDOW, padding_row: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(TABLE, 8)
        self.places = nn.Parameter(torch.randn(width, 8))
        self.padding_row = padding_row

    def query(self, features):
        (items,) = features.values()
        assert items.shape[1] == len(self.places)
        seen = torch.where((items == self.padding_row)[..., None], 0.5, self.items(items.clamp(min=0)))
        return (seen * self.places).sum(1)

    def item_table(self):
        return self.items.weight


class Scores(Query):
    """The same for a module that gives scores alone."""

    query = property()  # what nn.Module takes for none

    def forward(self, features):
        return Query.query(self, features) @ self.items.weight.T


def encoded(frame, folder) -> object:
    return fit(["item_id"] >> ops.Categorify(out_path=str(folder / "c")), frame)


def own(module: Query, rows: dict, session, *, padding: str) -> dict:
    """The module's scores by raw id for a session of known items."""
    width = len(module.places)
    kept = [rows[item] for item in session][-width:]
    missing = [module.padding_row] * (width - len(kept))
    items = torch.tensor([[*missing, *kept] if padding == "left" else [*kept, *missing]])
    with torch.no_grad():
        scores = (Query.query(module, {"items": items}) @ module.items.weight.T)[0].numpy()
    return {item: scores[row] for item, row in rows.items()}


def numbered(ids) -> dict:
    return dict(zip(ids.tolist(), ROWS, strict=True))


CASES = {
    "on the left": (STRINGS, str, "left", 0, WINDOW, Query, {}),
    "on the right, without a row": (STRINGS, str, "right", -1, WINDOW, Query, {"runtime": "native"}),
    "integers named by strings": (NUMBERS, str, "left", 1, WINDOW, Query, {"format": "torchscript"}),
    "strings named by integers": (NUMBERS.astype(str).astype(object), int, "right", 0, WINDOW, Scores, {}),
    "more places than the window": (NUMBERS, int, "left", 0, 6, Query, {}),
    "more places on the right": (NUMBERS, int, "right", -1, 6, Query, {}),
    "fewer places than the window": (STRINGS, str, "right", 0, 3, Scores, {}),
    "scanned in int8": (STRINGS, str, "left", 0, WINDOW, Query, {"scoring": "int8-rerank"}),
    "fewer places on the left": (STRINGS, str, "left", -1, 3, Query, {"format": "onnx_dynamo"}),
}
SLOW = ("more places on the right", "fewer places on the left", "on the right, without a row")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES])
def test_the_bundle_answers_as_the_module_does(name, tmp_path):
    ids, named_as, padding, padding_row, width, kind, options = CASES[name]
    frame = clicks(ids)
    module, rows = kind(width, padding_row), numbered(ids)
    model = from_rows(
        module,
        {named_as(item): row for item, row in rows.items()},
        padding=padding,
        padding_row=padding_row,
        window=None if width == WINDOW else width,
    )
    ask = Asked(tmp_path / "repository", encoded(frame, tmp_path), frame, model, **options)
    for session in (ids[[0, 2, 1]], ids[[4]], ids[[5, 3, 0, 8]], ids[[7, 6, 5, 3, 0, 8]]):
        agrees(ask(session), own(module, rows, session[-WINDOW:], padding=padding))
    unknown = "never" if ids.dtype == object else 7
    agrees(ask([ids[0], unknown, None, ids[1]]), own(module, rows, ids[[0, 1]], padding=padding))
    answer = ask([unknown, None], [])
    assert answer["status"].tolist() == [["cold"], ["empty"]]
    assert len(set(answer["item_ids"][0][:ITEMS].tolist())) == ITEMS  # rows without an id are no items


def test_other_features_move_with_the_items(tmp_path):
    class Both(Query):
        feature_names = ("item_id-list", "category-list")

        def query(self, features):
            weights = torch.tensor([1.0, 10, 100, 1000]) / 1000
            return super().query({"": features["item_id-list"]}) * (features["category-list"] @ weights)[:, None]

    frame = clicks(STRINGS).assign(category=lambda f: f.category.astype("float32") + 1)
    categories = ["category"] >> ops.FillMissing(0) >> ops.LambdaOp(lambda c: c * 2)
    items = ["item_id"] >> ops.Categorify(out_path=str(tmp_path / "c"))
    workflow = fit(items + categories, frame, ("item_id", "category"))
    rows = numbered(STRINGS)
    ask = Asked(tmp_path / "repository", workflow, frame, from_rows(Both(), rows, padding="left"))
    session, category = STRINGS[[3, 1]], 2 * frame.category.iloc[[0, 2]].to_numpy()
    padded = {
        "item_id-list": torch.tensor([[0, 0, rows[session[0]], rows[session[1]]]]),
        "category-list": torch.tensor([[0.0, 0.0, *category]]),
    }
    module = Both()
    with torch.no_grad():
        scores = (module.query(padded) @ module.items.weight.T)[0].numpy()
    # The item between them is unknown: its category goes with it.
    agrees(ask([session[0], "never", session[1]]), {item: scores[row] for item, row in rows.items()})


def test_further_heads_are_handed_on(tmp_path):
    class WithHead(Query):
        head_widths = {"size": 1}  # noqa: RUF012

        def query_and_heads(self, features):
            query = self.query(features)
            return query, {"size": query.sum(1, keepdim=True)}

    frame = clicks(STRINGS)
    model = from_rows(WithHead(), numbered(STRINGS), padding="left", item_feature="item_id-list")
    bundle = exported(tmp_path / "repository", encoded(frame, tmp_path), frame, model)
    assert all(report.head_difference < 1e-4 for report in bundle.parity)


def test_wrong_rows_do_not_pass_for_the_modules_own_answers(tmp_path):
    frame, module, rows = clicks(STRINGS), Query(), numbered(STRINGS)
    turned = dict(zip(rows, np.roll(ROWS, 1).tolist(), strict=True))
    ask = Asked(tmp_path / "repository", encoded(frame, tmp_path), frame, from_rows(module, turned))
    with pytest.raises(AssertionError):
        agrees(ask(STRINGS[[0, 2, 1]]), own(module, rows, STRINGS[[0, 2, 1]], padding="right"))


@pytest.fixture(scope="module")
def plan(shop, tmp_path_factory):
    frame = clicks(STRINGS)
    model = from_rows(Query(), numbered(STRINGS), padding="left")
    return shop.plan_of(encoded(frame, tmp_path_factory.mktemp("plan")), frame, model)


def reference_of(plan) -> ItemReference:
    ids = np.array(["", "", "", *plan.vocabulary.values], dtype=object)
    return ItemReference(ids, plan.probe, model_rows=ModelRows(plan.model.rows, 0))


def test_the_gate_catches_an_exporter_that_gives_items_other_rows(shop, plan, tmp_path):
    cases = [Case("the sample", plan.sessions, 64)]
    items = reference_of(plan)
    Gate(shop.steps_of(plan, tmp_path / "right"), Reference(plan, items), plan, items).check(cases)
    rows = np.array([0] * 3 + np.roll([plan.model.rows[item] for item in plan.vocabulary.values], 1).tolist())
    other = by_code(plan.model, plan.item_feature, ItemValues(rows, known_alone=True), TABLE)
    wrong = dataclasses.replace(plan, ranked_model=other)
    with pytest.raises(ParityError, match=r"ranking of session . in case 'the sample': "):
        Gate(shop.steps_of(wrong, tmp_path / "wrong"), Reference(plan, items), plan, items).check(cases)


def test_the_reference_reads_rows_by_raw_id(plan):
    reference, ids = reference_of(plan), plan.vocabulary.values
    first, second = plan.model.rows[ids[0]], plan.model.rows[ids[1]]
    read = reference.read_by_model({"items": np.array([3, 2, 4, 0]), "price": np.array([1.0, 2, 3, 0])}, "items")
    assert read["items"].tolist() == [first, second, 0, 0]
    assert read["price"].tolist() == [1, 3, 0, 0]
    assert reference.by_code(np.arange(float(TABLE))[None])[0, 3:5].tolist() == [first, second]
    # What NVTabular gives is read as ever.
    assert reference.codes(np.array([3, 4, 2, 1])).tolist() == [3, 4, 2, 1]
    assert reference.fault(pd.Series([ids[0], ids[1]]), np.array([3, 4])) is None


def test_the_reference_refuses_an_item_without_a_row():
    assert ModelRows({"5": 1, -7: 2}, 0).of(5) == 1
    assert ModelRows({"5": 1, -7: 2}, 0).of("-7") == 2
    with pytest.raises(ParityError, match="the items step has the item 'x', for which no row was given"):
        ModelRows({"5": 1}, 0).of("x")


MISSING = STRINGS[:3].tolist()
REFUSED = {
    "items without a row": (
        lambda: {item: row for item, row in numbered(STRINGS).items() if item not in MISSING},
        {},
        ["3 of the 9 items of the workflow's vocabulary have no row in Query (", "clicks[clicks.item_id.isin(…)]"],
    ),
    "a row beyond the table": (
        lambda: numbered(STRINGS) | {STRINGS[4]: TABLE},
        {},
        [f"rows gives the item '{STRINGS[4]}' the row {TABLE}, and Query has the rows 0 to {TABLE - 1}"],
    ),
    "raw ids as rows": (lambda: numbered(STRINGS), {"item_codes": "as-is", "item_padding": 0}, ["leave both away"]),
    "padding by an option": (lambda: numbered(STRINGS), {"item_padding": 0}, ["item_padding are for models without"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_that_do_not_fit_the_workflow_are_refused(name, tmp_path):
    rows, options, parts = REFUSED[name]
    frame = clicks(STRINGS)
    with pytest.raises(ExportError) as caught:
        exported(tmp_path / "repository", encoded(frame, tmp_path), frame, from_rows(Query(), rows()), **options)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("ids", "rows", "part"),
    [
        (NUMBERS, {"007": 1}, "rows names the item '007', of type str, and the raw item column holds integers"),
        (NUMBERS, {"7.0": 1}, "rows names the item '7.0', of type str"),
        (NUMBERS, {7: 1, "7": 2}, "rows names the item 7 twice, as a string and as a number"),
        (STRINGS, {7: 1, "7": 2}, "rows names the item '7' twice, as a string and as a number"),
        (STRINGS, {1.5: 1}, "rows names the item 1.5, of type float, and the raw item column holds strings"),
        (STRINGS, {True: 1}, "rows names the item True, of type bool"),
    ],
)
def test_ids_that_are_none_of_the_column_are_refused(ids, rows, part):
    with pytest.raises(UnsupportedModel) as caught:
        from_rows(Query(), rows).values(ids, TABLE)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"rows": {}}, "rows is {}, expected a dict from each raw item id"),
        ({"rows": ["a"]}, "rows is ['a'], expected a dict"),
        ({"rows": {"a": "b"}}, "rows gives the item 'a' the row 'b', expected an integer"),
        ({"rows": {"a": True}}, "the row True, expected an integer"),
        ({"rows": {"a": 0}}, "the item 'a' the row 0, which is the padding_row as well"),
        ({"rows": {"a": 2, "b": 2}}, "rows gives the items 'a' and 'b' the same row 2"),
        ({"padding": "both"}, "unknown padding 'both', known are right, left"),
        ({"window": 0}, "the window is 0, expected 1 or more"),
        ({"module": "model.pt"}, "the model is of type str, expected a torch.nn.Module"),
    ],
)
def test_arguments_that_are_wrong_in_themselves_are_refused(arguments, part):
    given = {"module": Query(), "rows": {"a": 1}} | arguments
    with pytest.raises(UnsupportedModel) as caught:
        from_rows(given.pop("module"), given.pop("rows"), **given)
    assert part in str(caught.value)
