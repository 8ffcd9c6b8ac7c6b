"""Item features that hold something else than Categorify's codes: answered by the right raw ids, or refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nvtabular import ops

from export.tests.support.items_shop import (
    EVERY_FORM,
    ITEMS,
    NUMBERS,
    STRINGS,
    Asked,
    Rows,
    agrees,
    clicks,
    exported,
    fit,
    offline,
)
from nextitem_export import ExportError

MAPS = {
    "shift": (lambda c: c + 1, ITEMS + 4),
    "product": (lambda c: c * 2, 2 * ITEMS + 5),
    "from one, padding 0 for what is no item": (lambda c: (c - 2).clip(lower=0), ITEMS + 1),
    "reversed": (lambda c: 20 - c, 21),
    "cast": (lambda c: c.astype("int32"), ITEMS + 3),
    "where": (lambda c: np.where(c < 3, c, c + 4), ITEMS + 7),
    "lookup": (lambda c: c.map({1: 1, 2: 2, **{i + 3: 3 + (i * 2) % ITEMS for i in range(ITEMS)}}), ITEMS + 3),
}


#: `make test` has every second function, with ids of one kind and the other in turn.
CASES = [
    *(
        pytest.param(name, kind, "compiled", marks=() if place % 4 == 2 * number else pytest.mark.slow)
        for place, name in enumerate(MAPS)
        for number, kind in enumerate(("strings", "numbers"))
    ),
    pytest.param("shift", "strings", "nvtabular", marks=pytest.mark.slow),
    ("lookup", "numbers", "nvtabular"),
]


@pytest.mark.parametrize(("name", "kind", "features"), CASES)
def test_what_a_function_makes_of_codes_is_answered_by_raw_ids(tmp_path, name, kind, features):
    function, rows = MAPS[name]
    values, unknown = (STRINGS, "nothing like it") if kind == "strings" else (NUMBERS, 7)
    frame = clicks(values)
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path)) >> ops.LambdaOp(function)
    workflow, model = fit(codes, frame), Rows(rows)
    ask = Asked(tmp_path / "repository", workflow, frame, model, features=features)
    session = values[[4, 1, 7]]
    answer = ask(session)
    agrees(answer, offline(workflow, frame, model, session))
    assert answer["codes"][0, 3] == 0
    assert ask([unknown, None])["status"].tolist() == [["cold"]]
    seen = ask(session, exclude_seen=np.array([[True]]))["item_ids"][0]
    assert not set(seen.tolist()) & set(session.tolist())
    allowed = np.array([["ø4".encode()]], dtype=object) if kind == "strings" else session[None, :1]
    only = ask(session, allow_item_ids=allowed)["item_ids"][0]
    assert [item for item in only.tolist() if item in set(values.tolist())] == [session[0]]


@pytest.mark.parametrize(("kind", "options"), EVERY_FORM)
def test_every_format_and_kind_of_model_reads_the_values_that_it_was_trained_on(
    frame_of_strings, kind, options, tmp_path
):
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path)) >> ops.LambdaOp(lambda c: c + 1)
    bundle = exported(
        tmp_path / "repository", fit(codes, frame_of_strings), frame_of_strings, kind(ITEMS + 4), **options
    )
    assert all(report.judged for report in bundle.parity)


@pytest.fixture(scope="module")
def frame_of_strings() -> pd.DataFrame:
    return clicks(STRINGS)


def refusal(act) -> str:
    with pytest.raises(ExportError) as caught:
        act()
    return str(caught.value)


REFUSED = {
    "an item of the value of another": (
        lambda codes: codes >> ops.LambdaOp(lambda c: c // 2),
        ["LambdaOp on 'item_id')", "gives the items 'ø", "the same value 2", "take the function out of the item's way"],
    ),
    "clipped above": (lambda codes: codes >> ops.Clip(max_value=9), ["Clip on 'item_id')", "the same value 9"]),
    "an item of padding's value": (
        lambda codes: codes >> ops.LambdaOp(lambda c: c - 3),
        ["gives the item 'ø", "the value 0, which is that of padding as well"],
    ),
    "an item of the value of unknown": (
        lambda codes: codes >> ops.LambdaOp(lambda c: c.where(c != 2, 5)),
        ["the value 5, which is that of an unknown item as well"],
    ),
    "an item of the value of null": (
        lambda codes: codes >> ops.LambdaOp(lambda c: c.where(c != 1, 5)),
        ["the value 5, which is that of null as well"],
    ),
    "beyond the model's table": (
        lambda codes: codes >> ops.LambdaOp(lambda c: c + 100),
        [
            "gives null the value 101 in 'item_id-list', and Rows has the rows 0 to 11",
            "use the workflow that the model",
        ],
    ),
    "floats": (
        lambda codes: codes >> ops.LambdaOp(lambda c: c * 1.5),
        ["'item_id-list' is float64, expected integers", "Categorify, LambdaOp"],
    ),
    "more than the item": (
        lambda codes: codes >> ops.LambdaOp(lambda c, f: c + f["category"] * 20, dependency=["category"]),
        ["'item_id-list' beside some values of other columns", "make 'item_id-list' of 'item_id' alone"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leaves_no_way_back_to_raw_ids_is_refused_by_name(frame_of_strings, tmp_path, name):
    after, parts = REFUSED[name]
    workflow = fit(after(["item_id"] >> ops.Categorify(out_path=str(tmp_path))), frame_of_strings)
    message = refusal(lambda: exported(tmp_path / "repository", workflow, frame_of_strings, Rows(ITEMS + 3)))
    for part in parts:
        assert part in message
    assert not (tmp_path / "repository").exists()


BEFORE = {
    "other letters": (lambda c: c.str.lower(), np.array([f"A{i}" for i in range(ITEMS)], dtype=object), "the id 'A"),
    "padding of strings": (lambda c: c.str.strip(), STRINGS, "the id ' ø"),
    "a shift": (lambda c: c + 3, NUMBERS, "which is that of an unknown item as well"),
    "a division": (lambda c: c // 10 * 10, np.arange(ITEMS) * 10, "gives the id "),
    "another type": (
        lambda c: c.astype(str),
        NUMBERS,
        "holds strings, the raw column numbers: change the column's type",
    ),
}


@pytest.mark.parametrize("name", BEFORE)
def test_ids_that_are_changed_before_categorify_are_refused(tmp_path, name):
    function, values, part = BEFORE[name]
    frame = clicks(values)
    codes = ["item_id"] >> ops.LambdaOp(function) >> ops.Categorify(out_path=str(tmp_path))
    message = refusal(lambda: exported(tmp_path / "repository", fit(codes, frame), frame, Rows(ITEMS + 3)))
    assert part in message


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"freq_threshold": 4},
        pytest.param({"max_size": 8}, marks=pytest.mark.slow),
        pytest.param({"encode_type": "joint"}, marks=pytest.mark.slow),
    ],
    ids=lambda a: "".join(a) or "plain",
)
def test_vocabularies_of_every_kind_that_keeps_one_code_an_item_pass(tmp_path, frame_of_strings, arguments):
    frame = frame_of_strings.assign(viewed=frame_of_strings["item_id"].to_numpy()[::-1])
    columns = [["item_id", "viewed"]] if arguments else ["item_id", "viewed"]
    if "encode_type" not in arguments:
        columns = ["item_id", "viewed"]
    codes = columns >> ops.Categorify(out_path=str(tmp_path), **arguments) >> ops.LambdaOp(lambda c: c + 1)
    workflow = fit(codes, frame, names=("item_id", "viewed"))
    bundle = exported(tmp_path / "repository", workflow, frame, Rows(ITEMS + 4), item_feature="item_id-list")
    assert all(report.judged for report in bundle.parity)


SIDE = {
    "shifted": lambda c: c + 1,
    "doubled": lambda c: c * 2 - 3,
    "clipped": lambda c: c.clip(lower=3, upper=5),
    "cast": lambda c: c.astype("float32") / 3,
    "mapped": lambda c: c.map({3: 40, 4: 30, 5: 20}).fillna(7).astype("int64"),
    "among": lambda c: c.isin([3, 5]).astype("int64"),
    "chosen": lambda c: np.where(c > 4, 1, c),
}


def test_side_features_hold_what_nvtabular_makes_of_their_codes(tmp_path, frame_of_strings):
    columns = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    for name, function in SIDE.items():
        code = ["category"] >> ops.Categorify(out_path=str(tmp_path / name)) >> ops.LambdaOp(function)
        columns = columns + (code >> ops.Rename(f=lambda _, name=name: name))
    workflow = fit(columns, frame_of_strings, names=("item_id", *SIDE))
    bundle = exported(
        tmp_path / "repository",
        workflow,
        frame_of_strings,
        Rows(ITEMS + 3),
        names=["item_id-list", *(f"{name}-list" for name in SIDE)],
        item_feature="item_id-list",
    )
    assert all(report.judged for report in bundle.parity)
