"""`item_codes="as-is"`: raw ids that are the model's rows, with each of the ways in which models are padded."""

from __future__ import annotations

import numpy as np
import pytest
from nvtabular import ops

from export.tests.support.items_shop import (
    EVERY_FORM,
    ITEMS,
    STRINGS,
    Asked,
    Rows,
    Scores,
    agrees,
    clicks,
    exported,
    fit,
    offline,
)
from nextitem_export import ExportError

IDS = np.arange(ITEMS)


def plain(frame, function=None, *, ids=("item_id",)):
    columns = list(ids) if function is None else list(ids) >> ops.LambdaOp(function)
    return fit(columns, frame)


#: Raw ids, the model's rows and what it reads in padding, and what the workflow does to ids.
PADDED = {
    "no row of its own": (IDS, ITEMS, -1, None),
    "the last row": (IDS, ITEMS + 1, ITEMS, None),
    "the first row": (IDS + 1, ITEMS + 1, 0, None),
    "the first row, ids shifted by the workflow": (IDS, ITEMS + 1, 0, lambda c: c + 1),
    "ids from 1 for rows from 0": (IDS + 1, ITEMS, -1, lambda c: c - 1),
    "a narrower type": (IDS, ITEMS, -1, lambda c: c.astype("int32")),
}


@pytest.mark.parametrize(
    ("name", "features"),
    [
        *(
            pytest.param(name, "compiled", marks=() if place % 2 == 0 else pytest.mark.slow)
            for place, name in enumerate(PADDED)
        ),
        ("no row of its own", "nvtabular"),
        *(  # pandas has no null in the narrower type
            pytest.param(name, "nvtabular", marks=pytest.mark.slow) for name in [*PADDED][1:5]
        ),
    ],
)
def test_raw_ids_are_answered_and_what_is_no_row_is_unknown(tmp_path, name, features):
    ids, rows, padding, function = PADDED[name]
    frame = clicks(ids)
    workflow, model = plain(frame, function), Rows(rows, padding)
    options = {"item_codes": "as-is", "item_padding": padding, "features": features}
    ask = Asked(tmp_path / "repository", workflow, frame, model, **options)
    assert sorted(frame.item_id.unique()) == ids.tolist()
    session = ids[[0, 2, 1]]
    right = offline(workflow, frame, model, session)
    agrees(ask(session), right)
    agrees(ask([ids[0], 1_000, ids[2], -7, ids[1]][-4:]), offline(workflow, frame, model, ids[[2, 1]]))
    agrees(ask([ids[0], None, ids[2], ids[1]]), right)
    assert ask(session[:1])["codes"].tolist() == [[3, 0, 0, 0]]
    answer = ask([1_000, None], [])
    assert answer["status"].tolist() == [["cold"], ["empty"]]
    assert answer["codes"].tolist() == [[2, 1, 0, 0], [0, 0, 0, 0]]
    popular = frame["item_id"].value_counts()
    assert popular[answer["item_ids"][0, 0]] == popular.max()
    none = ask(session, exclude_item_ids=ids[None, :3])["item_ids"][0].tolist()
    assert not set(none) & set(ids[:3].tolist())


@pytest.mark.parametrize(("kind", "options"), EVERY_FORM)
def test_every_format_and_kind_of_model_reads_the_known_items_alone(tmp_path, kind, options):
    frame = clicks(IDS)
    options = options | {"item_codes": "as-is", "item_padding": -1}
    bundle = exported(tmp_path / "repository", plain(frame), frame, kind(ITEMS, -1), **options)
    assert {report.case: report.judged for report in bundle.parity}["unknown values"]


@pytest.mark.parametrize("kind", [Rows, Scores])
def test_further_heads_are_those_of_the_known_items(tmp_path, kind):
    class WithHead(kind):
        head_widths = {"size": 1}  # noqa: RUF012

        def query_and_heads(self, features):
            query = Rows.query(self, features)
            return query, {"size": query.sum(1, keepdim=True)}

        def forward_and_heads(self, features):
            query, heads = self.query_and_heads(features)
            return query @ self.items.weight.T, heads

    frame = clicks(IDS)
    options = {"item_codes": "as-is", "item_padding": -1}
    bundle = exported(tmp_path / "repository", plain(frame), frame, WithHead(ITEMS, -1), **options)
    assert all(report.head_difference < 1e-4 for report in bundle.parity)


def test_other_features_lose_the_places_of_unknown_items_too(tmp_path):
    """Held to it by the gate, whose reference drops them from what NVTabular gives."""

    class Both(Rows):
        def query(self, features):
            return super().query(features) * (1 + features["category-list"].float() @ self.weights)[:, None]

    import torch

    frame = clicks(IDS)
    model = Both(ITEMS, -1)
    model.weights = torch.nn.Parameter(torch.tensor([1.0, 10, 100, 1000]) / 1000)
    workflow = fit(
        ["item_id"] + (["category"] >> ops.Categorify(out_path=str(tmp_path))), frame, ("item_id", "category")
    )
    bundle = exported(
        tmp_path / "repository",
        workflow,
        frame,
        model,
        names=["item_id-list", "category-list"],
        item_codes="as-is",
        item_padding=-1,
    )
    assert {report.case: report.judged for report in bundle.parity}["unknown values"]


REFUSED = {
    "no padding": (
        {"item_padding": None},
        None,
        IDS,
        ["needs item_padding, the value", "such as -1 or the number of items"],
    ),
    "strings": ({}, None, STRINGS, ["'item_id-list' is object, expected integers or floats", "ops.Categorify()"]),
    "floats": (
        {},
        lambda c: c.astype("int64"),
        IDS * 1.0,
        ["'item_id' is of the kind float", "name it int64 in raw_dtypes"],
    ),
    "two shifts": ({}, lambda c: c * 2, IDS, ["(LambdaOp on 'item_id') is the raw id and 0", "one shift for all"]),
    "an item in the padding's place": (
        {"item_padding": 0},
        None,
        IDS,
        [
            "the sample has the item 0, whose value in 'item_id-list' is 0",
            "trained on where a session has no interaction",
        ],
    ),
    "other ids": ({}, None, IDS + 500, ["no item of the sample is a row of the model, which has 9", "[50"]),
    "a clip": (
        {},
        lambda c: c.clip(lower=0, upper=ITEMS - 1),
        IDS,
        ["(LambdaOp on 'item_id') gives the id -", "the value 0, that of the item 0: what is answered"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ids_that_are_no_rows_are_refused_by_name(tmp_path, name):
    options, function, ids, parts = REFUSED[name]
    frame = clicks(ids)
    with pytest.raises(ExportError) as caught:
        exported(
            tmp_path / "repository",
            plain(frame, function),
            frame,
            Rows(ITEMS, -1),
            **({"item_codes": "as-is", "item_padding": -1} | options),
        )
    for part in parts:
        assert part in str(caught.value)


def test_an_encoded_column_is_refused(tmp_path):
    frame = clicks(IDS)
    workflow = fit(["item_id"] >> ops.Categorify(out_path=str(tmp_path)), frame)
    for feature, part in (
        (None, "no list that the workflow returns is made of 'item_id' without"),
        ("item_id-list", "a Categorify encodes 'item_id-list'"),
    ):
        with pytest.raises(ExportError) as caught:
            exported(
                tmp_path / "repository",
                workflow,
                frame,
                Rows(ITEMS),
                item_feature=feature,
                item_codes="as-is",
                item_padding=0,
            )
        assert part in str(caught.value)


def test_without_it_the_remedy_names_it(tmp_path):
    frame = clicks(IDS)
    for feature in (None, "item_id-list"):
        with pytest.raises(ExportError) as caught:
            exported(tmp_path / "repository", plain(frame), frame, Rows(ITEMS), item_feature=feature)
        assert "ops.Categorify()" in str(caught.value)
        assert "export with the option item_codes 'as-is'" in str(caught.value)


def test_a_model_that_cannot_be_run_on_empty_sessions_is_refused(tmp_path):
    class Failing(Scores):
        def forward(self, features):
            raise IndexError("index out of range")

    frame = clicks(IDS)
    with pytest.raises(ExportError) as caught:
        exported(tmp_path / "repository", plain(frame), frame, Failing(ITEMS), item_codes="as-is", item_padding=-1)
    assert "Failing.forward(features) fails for two empty sessions, where 'item_id-list' is -1 throughout" in str(
        caught.value
    )
    assert "IndexError: index out of range" in str(caught.value)
