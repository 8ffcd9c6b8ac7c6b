from __future__ import annotations

import json

import pytest

from nextitem_bundle.runtime.signature import Feature, Signature
from nextitem_bundle.runtime.steps import (
    KINDS,
    STEP,
    AnnRetrieval,
    CatalogueAge,
    CompiledFeatures,
    FirstLook,
    FusedGraph,
    FusedSteps,
    Items,
    ModelFeature,
    Newest,
    NvtabularFeatures,
    OnnxGraph,
    Queue,
    Ranking,
    Retrieval,
    StepError,
    TorchScriptGraph,
    catalogue_of,
    read_step,
    write_step,
)

SIGNATURE = Signature(3, 20, "item_id", (Feature("item_id", "string"),), 20, 100, 64, 1000, 256)
FILTERS = ("excluded__1", "allowed__2")
QUEUE = Queue(64, 256, 250.0, 65)
RANKING = Ranking({"available__3": "bias"}, 512, 100)
AGE = CatalogueAge(214, "2026-12-01T02:00:00+00:00")
SETTINGS = [
    OnnxGraph(2),
    TorchScriptGraph(("a", "b"), ("c",)),
    CompiledFeatures(SIGNATURE, FILTERS, "feature__0", "onnx", "", Newest(20, "time")),
    CompiledFeatures(SIGNATURE, FILTERS, "feature__0", "numpy", "too many strings", catalogue=AGE),
    NvtabularFeatures(
        SIGNATURE, FILTERS, "feature__0", (ModelFeature("a", "feature__0", "int64"),), {"x": "int64"}, "s", "string"
    ),
    Retrieval(OnnxGraph(), RANKING),
    Retrieval(OnnxGraph(), RANKING, "int8-rerank", FirstLook(32, 120), 0.9994),
    Retrieval(TorchScriptGraph(("a",), ("b",)), Ranking({"a": "mask"})),
    AnnRetrieval(OnnxGraph(), "i", "t", "p", FILTERS, ("codes",), (), 20, 256, 16),
    Items("onnx", ("codes",), queue=QUEUE),
    FusedGraph(SIGNATURE, FILTERS, "c", Newest(), OnnxGraph(), RANKING, QUEUE),
    FusedSteps(SIGNATURE, FILTERS, {"codes": "ranked"}, {}, QUEUE, AGE),
]


def test_every_kind_is_here():
    assert {type(one) for one in SETTINGS} == {kind.settings for kind in KINDS.values()}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: type(one).__name__)
def test_what_was_written_is_read(tmp_path, settings):
    write_step(tmp_path, settings)
    assert read_step(tmp_path) == settings
    write_step(tmp_path, settings)  # over the one that is there


def test_only_what_reads_requests_tells_of_the_catalogue():
    assert [type(one) for one in SETTINGS if catalogue_of(one)] == [CompiledFeatures, FusedSteps]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"threads": "two"}, r"step.json, threads is 'two', expected int"),
        ({"threads": True}, r"step.json, threads is True, expected int"),
        (
            {"colour": 1},
            r"step.json has an unknown key 'colour', expected are threads: export the bundle again",
        ),
        ({"threads": ...}, r"step.json has no key 'threads'"),
        ({"kind": "magic"}, r"has kind 'magic', this runtime knows onnx, torchscript"),
        ({"kind": ...}, r"is no description of a step \(KeyError: 'kind'\)"),
    ],
)
def test_what_is_not_as_written_is_refused_with_its_key(tmp_path, change, sentence):
    document = {"kind": "onnx", "threads": 1, **change}
    (tmp_path / STEP).write_text(json.dumps({name: value for name, value in document.items() if value is not ...}))
    with pytest.raises(StepError, match=sentence):
        read_step(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("graph", "kind"), "items", r"graph has kind 'items', which is none of those that fit there"),
        (("graph", "threads"), None, r"graph, threads is None, expected int"),
        (("ranking",), [], r"ranking is \[\], expected an object"),
        (("ranking", "constants"), {"a": 3}, r"ranking, constants, a is 3, expected str"),
        (("recall_at_20",), "much", r"recall_at_20 is 'much', expected float"),
    ],
)
def test_what_lies_deeper_is_refused_with_the_way_to_it(tmp_path, path, value, sentence):
    write_step(tmp_path, Retrieval(OnnxGraph(), RANKING))
    document = json.loads((tmp_path / STEP).read_text())
    *way, last = path
    inner = document
    for name in way:
        inner = inner[name]
    inner[last] = value
    (tmp_path / STEP).write_text(json.dumps(document))
    with pytest.raises(StepError, match=sentence):
        read_step(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", "null"])
def test_no_object_is_refused(tmp_path, text):
    (tmp_path / STEP).write_text(text)
    with pytest.raises(StepError, match="is no description of a step"):
        read_step(tmp_path)
