from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from nvtabular import ops

from export.tests.support.items_shop import ITEMS, STRINGS, Rows, clicks, fit
from nextitem_export import ExportOptions, ParityError
from nextitem_export.parity.cases import Case
from nextitem_export.parity.items import ItemReference
from nextitem_export.retrieval.model import by_code
from nextitem_export.workflow.item_values import ItemValues


@pytest.fixture(scope="module")
def shifted(shop, tmp_path_factory):
    """A plan whose item feature is Categorify's code and one."""
    frame = clicks(STRINGS)
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path_factory.mktemp("c"))) >> ops.LambdaOp(lambda c: c + 1)
    return shop.plan_of(fit(codes, frame), frame, Rows(ITEMS + 4))


@pytest.fixture(scope="module")
def reference(shifted):
    ids = np.array(["", "", "", *shifted.vocabulary.values], dtype=object)
    return ItemReference(ids, shifted.probe)


def test_values_of_nvtabular_are_told_as_codes(reference):
    assert reference.codes(np.array([2, 3, 4, 5, 12])).tolist() == [1, 2, 3, 4, 11]
    assert reference.codes(np.array([4, 2, 0, 0, 4]), length=2).tolist() == [3, 1, 0, 0, 2]  # a ListSlice pads with 0


def test_the_model_reads_values_and_its_scores_are_told_by_code(reference):
    read = reference.read_by_model({"items": np.array([3, 1, 2, 0]), "price": np.ones(4)}, "items")
    assert read["items"].tolist() == [4, 2, 3, 0]
    assert reference.by_code(np.arange(13.0)[None])[0, 3:].tolist() == list(range(4, 13))


def test_a_model_without_a_row_for_an_item_is_caught(reference):
    with pytest.raises(ParityError, match=r"values up to 12 in 'item_id-list', and the model has 12 rows"):
        reference.by_code(np.zeros((1, 12)))


def test_a_session_s_values_are_held_to_its_raw_ids(reference, shifted):
    first, second = shifted.vocabulary.values[:2]
    ids = pd.Series([first, None, second])
    assert reference.fault(ids, np.array([4, 2, 5])) is None
    assert reference.fault(ids, np.array([4, 2, 5, 0, 0])) is None
    assert f"its items are ['{first}', '{second}'], by NVTabular's values they are ['{second}'" in reference.fault(
        ids, np.array([5, 2, 6])
    )
    assert reference.fault(ids, np.array([4, 2, 40])) == "NVTabular gives the value 40, which no item of the bundle has"


@pytest.mark.parametrize("ids", [["a", "a"], ["a", ""]])
def test_ids_that_stand_twice_or_for_nothing_are_caught(shifted, ids):
    with pytest.raises(ParityError, match=r"the items step has \d different ids for 2 items"):
        ItemReference(np.array(["", "", "", *ids], dtype=object), shifted.probe)


def test_where_null_and_unknown_have_no_value_the_model_reads_the_other_items_alone(shop):
    frame = clicks(np.arange(ITEMS))
    options = {"item_codes": "as-is", "item_padding": -1}
    plan = shop.plan_of(fit(["item_id"], frame), frame, Rows(ITEMS, -1), options=ExportOptions(**options))
    null = np.iinfo(np.int64).min
    reference = ItemReference(np.array([null] * 3 + list(range(ITEMS))), plan.probe, padding=-1, known_alone=True)
    read = reference.read_by_model({"items": np.array([2, 3, 1, 5]), "price": np.array([1.0, 2, 3, 4])}, "items")
    assert read["items"].tolist() == [0, 2, -1, -1]
    assert read["price"].tolist() == [2, 4, 0, 0]
    assert reference.codes(np.array([0, 99, 8])).tolist() == [3, 2, 11]
    assert reference.fault(pd.Series([0, 99, 8]), np.array([0, 99, 8])) is None


def test_an_exporter_that_names_items_by_other_values_is_caught(shop, shifted, tmp_path):
    """What the gate once let pass: both sides read by one vocabulary."""
    cases = [Case("the sample", shifted.sessions, 64)]
    shop.gate_of(shifted, shop.steps_of(shifted, tmp_path / "right")).check(cases)
    others = ItemValues(np.concatenate([shifted.item_values.by_code[:3], np.roll(shifted.item_values.by_code[3:], 1)]))
    model = by_code(shifted.model, shifted.item_feature, others, ITEMS + 4)
    wrong = dataclasses.replace(shifted, item_values=others, ranked_model=model)
    with pytest.raises(ParityError, match=r"feature 'item_id-list' of session . in case 'the sample': "):
        shop.gate_of(wrong, shop.steps_of(wrong, tmp_path / "wrong")).check(cases)


def test_an_exporter_that_shifts_the_catalogue_is_caught(shop, plan, tmp_path):
    shifted = dataclasses.replace(plan.vocabulary, values=np.roll(plan.vocabulary.values, 1))
    wrong = dataclasses.replace(plan, vocabulary=shifted)
    with pytest.raises(ParityError, match=r"feature 'item_id-list' of session . in case 'the sample': "):
        shop.gate_of(wrong, shop.steps_of(wrong, tmp_path / "steps")).check([Case("the sample", plan.sessions, 64)])
