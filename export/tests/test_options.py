from __future__ import annotations

import dataclasses

import pytest

from nextitem_export import ExportError, ExportOptions
from nextitem_export.options import FEATURES, ITEM_CODES, LAYOUTS, RUNTIMES
from nextitem_export.retrieval.formats import CHOICES

NUMBERS = [field.name for field in dataclasses.fields(ExportOptions) if field.type == "int"]


def test_the_defaults_are_valid():
    options = ExportOptions()
    assert options.top_k <= options.max_top_k
    assert not options.replace
    assert not options.keep_workflow_window


@pytest.mark.parametrize(
    ("field", "known"),
    [
        ("layout", LAYOUTS),
        ("format", CHOICES),
        ("runtime", RUNTIMES),
        ("features", FEATURES),
        ("item_codes", ITEM_CODES),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(field, known):
    for value in known:
        assert getattr(ExportOptions(**{field: value, "item_padding": 0}), field) == value
    with pytest.raises(ExportError) as caught:
        ExportOptions(**{field: "magic"})
    assert str(caught.value) == f"unknown {field} 'magic', known are {', '.join(known)}"


@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_below_the_least_is_refused(field):
    least = 0 if field.startswith(("instances", "max_queue", "queue", "keep_proof")) else 1
    with pytest.raises(ExportError, match=f"^{field} is {least - 1}, expected {least} or more$"):
        ExportOptions(**{field: least - 1})


@pytest.mark.parametrize(
    ("chosen", "instances"),
    [
        ({}, 1),
        ({"layout": "fused"}, 2),
        ({"runtime": "native"}, 1),
        ({"layout": "fused", "instances": 1}, 1),
        ({"instances": 3}, 3),
    ],
)
def test_a_layout_has_its_own_number_of_processes(chosen, instances):
    assert ExportOptions(**chosen).instances == instances


def test_more_items_by_default_than_at_most_are_refused():
    with pytest.raises(ExportError) as caught:
        ExportOptions(top_k=11, max_top_k=10)
    assert str(caught.value) == "top_k is 11, above max_top_k 10: raise max_top_k or lower top_k"
    assert ExportOptions(top_k=10, max_top_k=10).top_k == 10


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="colour"):
        ExportOptions(colour="red")


@pytest.mark.parametrize(
    ("chosen", "part"),
    [
        ({"scoring": "ann"}, "scoring 'ann' asks faiss, which Triton's own backends have not"),
        ({"layout": "fused"}, "give ExportOptions(layout='ensemble'), or ExportOptions(runtime='python')"),
    ],
)
def test_what_triton_s_own_backends_cannot_run_is_refused(chosen, part):
    ExportOptions(**chosen)
    with pytest.raises(ExportError) as caught:
        ExportOptions(runtime="native", **chosen)
    assert part in str(caught.value)
