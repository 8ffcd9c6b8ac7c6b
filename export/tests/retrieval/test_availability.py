from __future__ import annotations

import json

import numpy as np
import pytest

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY, AvailabilityError, Retrieval, read_availability
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step
from nextitem_export.graphs import id_decoder

STRINGS = ItemIndex.of(np.array(["a", "ä", "🛍"], dtype=object))
INTEGERS = ItemIndex.of(np.array([7, 2**63 - 1, -(2**63) + 1]))
ONE = {
    "item_id": np.array([["ø1"]], dtype=object),
    "timestamp": np.zeros((1, 1), dtype=np.int64),
    "category": np.ones((1, 1), dtype=np.int64),
    "price": np.ones((1, 1), dtype=np.float32),
}
SPECIAL = list(range(FIRST_ITEM))  # which the graph bars by itself


@pytest.fixture
def path(tmp_path):
    return tmp_path / AVAILABILITY


def available(path, index, document) -> list[int]:
    """The items, by code, that the list leaves."""
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    read = read_availability(path, index)
    assert read.dtype == bool
    assert len(read) == FIRST_ITEM + 3
    return [code for code in np.flatnonzero(read).tolist() if code not in SPECIAL]


@pytest.mark.parametrize(
    ("index", "document", "left"),
    [
        (STRINGS, {"unavailable": []}, [3, 4, 5]),
        (STRINGS, {"unavailable": ["a", "🛍", "a"]}, [4]),
        (STRINGS, {"available": ["ä"]}, [4]),
        (STRINGS, {"available": []}, []),
        (STRINGS, {"available": ["a", "ä", "🛍", "never seen", "a\0", "", "x" * 9999]}, [3, 4, 5]),
        (STRINGS, {"unavailable": ["never seen", "a\0", "", "\ud800"]}, [3, 4, 5]),
        (INTEGERS, {"unavailable": [7, 8]}, [4, 5]),
        (INTEGERS, {"available": [2**63 - 1, -(2**63) + 1]}, [4, 5]),
        (INTEGERS, {"unavailable": [2**63, -(2**63), -(2**63) - 1, 10**400]}, [3, 4, 5]),
    ],
)
def test_both_forms_are_read_and_unknown_ids_stand_for_nothing(path, index, document, left):
    assert available(path, index, document) == left


def test_without_a_file_everything_is_available(path):
    assert read_availability(path, STRINGS).all()


FORMS = 'must hold {"unavailable": [raw item ids]} or {"available": [raw item ids]}, and one of them alone'


@pytest.mark.parametrize(
    ("index", "document", "parts"),
    [
        (STRINGS, '{"unavailable": ["a"', ["is no JSON: ", "line 1"]),
        (STRINGS, "", ["is no JSON: "]),
        (STRINGS, "[" * 100_000, ["is no JSON: "]),
        (INTEGERS, f'{{"unavailable": [{"9" * 5000}]}}', ["is no JSON: ", "digits"]),
        (STRINGS, '["a"]', [FORMS]),
        (STRINGS, "null", [FORMS]),
        (STRINGS, "{}", [FORMS]),
        (STRINGS, '{"unavailable": "a"}', [FORMS]),
        (STRINGS, '{"unavailable": {"a": 1}}', [FORMS]),
        (STRINGS, '{"unavailable": ["a"], "available": ["a"]}', [FORMS]),
        (STRINGS, '{"unavailable": ["a"], "until": "May"}', [FORMS]),
        (STRINGS, '{"Unavailable": ["a"]}', [FORMS]),
        (STRINGS, '{"unavailable": ["a", 7]}', ["lists 7, expected strings, as the raw item ids are"]),
        (STRINGS, '{"unavailable": [null]}', ["lists None, expected strings"]),
        (STRINGS, '{"unavailable": [["a"]]}', ["lists ['a'], expected strings"]),
        (INTEGERS, '{"available": [7, "7"]}', ["lists '7', expected integers, as the raw item ids are"]),
        (INTEGERS, '{"available": [7.0]}', ["lists 7.0, expected integers"]),
        (INTEGERS, '{"available": [true]}', ["lists True, expected integers"]),
        (INTEGERS, '{"available": [NaN]}', ["lists nan, expected integers"]),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_a_sentence(path, index, document, parts):
    with pytest.raises(AvailabilityError) as caught:
        available(path, index, document)
    assert str(caught.value).startswith(f"{path} ")
    for part in parts:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_is_no_text_or_no_file_is_refused_with_a_sentence(path):
    path.write_bytes(b'{"unavailable": ["\xff"]}')
    with pytest.raises(AvailabilityError, match=r"is no JSON: .*utf-8"):
        read_availability(path, STRINGS)
    path.unlink()
    path.mkdir()
    with pytest.raises(AvailabilityError, match="cannot be read: Is a directory"):
        read_availability(path, STRINGS)


class Graph:
    inputs = ("feature__0", "available__3")
    outputs = ("codes__0",)

    def run(self, tensors):
        return {"codes__0": tensors["available__3"]}


def test_the_list_is_no_input_of_the_step_but_one_of_the_graph():
    step = Retrieval(Graph(), {"available__3": np.array([True, False])})
    assert step.constants["available__3"].tolist() == [True, False]
    assert step.inputs == ("feature__0",)
    assert step.outputs == ("codes__0",)
    assert step.run({"feature__0": np.zeros(1)})["codes__0"].tolist() == [True, False]


@pytest.mark.parametrize("format_name", ["onnx", "torchscript"])
def test_the_list_is_read_when_the_step_is_opened(format_name, shop, plan, tmp_path):
    features, retrieval, items = shop.steps_of(plan, tmp_path, format=format_name)
    assert json.loads((retrieval / AVAILABILITY).read_text()) == {"unavailable": []}
    encoded = open_step(features).run(ONE)

    def answered() -> list[str]:
        step = open_step(retrieval)
        ranked = step.run({name: encoded[name] for name in step.inputs})
        cut = dict(zip(id_decoder.INPUTS, [*ranked.values(), encoded["top_k_checked"]], strict=True))
        ids = open_step(items).run(cut)["item_ids"]
        return [item for item in ids[0].tolist() if item]

    everything = answered()
    assert len(everything) == min(20, len(plan.vocabulary.values))
    (retrieval / AVAILABILITY).write_text(json.dumps({"unavailable": everything[:3]}))
    assert answered()[: len(everything) - 3] == everything[3:]
    (retrieval / AVAILABILITY).write_text(json.dumps({"available": everything[:2]}))
    assert answered() == everything[:2]
    (retrieval / AVAILABILITY).unlink()
    assert answered() == everything
