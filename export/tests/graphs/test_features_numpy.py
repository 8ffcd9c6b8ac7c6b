"""The numpy backend of the features step: what is served where ONNX has no equal, or would hold too much in memory."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from nextitem_bundle.runtime.features import FeaturesStep
from nextitem_bundle.runtime.features.program import Instruction, Program
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.signature import Feature, Signature
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import CompiledFeatures, write_step
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export import explain_workflow
from nextitem_export.graphs.features import compile_plan, write_features
from nextitem_export.report import explained_table
from nextitem_export.wire import request_tensors
from nextitem_export.workflow import backend_choice
from nextitem_export.workflow.backend_choice import choose_backend
from nextitem_export.workflow.expressions import sorted_keys


@pytest.fixture
def numpy_step(plan, tmp_path, monkeypatch):
    """The shop's features step, its vocabulary of items too large for a graph."""
    monkeypatch.setattr(backend_choice, "STRING_KEYS_LIMIT", 5)
    write_features(plan, "compiled", tmp_path)
    return tmp_path


def lookup_program(keys: np.ndarray) -> Program:
    """item_id and session_length to codes, one interaction a session."""
    dtype = "string" if keys.dtype.kind == "S" else "int64"
    arrays = {"keys": keys, "values": np.arange(3, 3 + len(keys))}
    return Program(
        (
            Instruction("input", (), dtype, {"name": "item_id"}),
            Instruction("encode", (0,), "int64", {"default": 2}, arrays),
        ),
        {"codes": 1},
    )


def codes(program: Program, values: list) -> list[int]:
    dtype = object if isinstance(values[0], str) else np.int64
    return program.run({"item_id": np.array([values], dtype=dtype)})["codes"][0].tolist()


def test_both_forms_give_the_same(plan, steps, numpy_step):
    graph, program = open_step(steps[0]), open_step(numpy_step)
    assert program.outputs == graph.outputs
    for sessions in (plan.sessions[:1], plan.sessions):
        request = request_tensors(sessions, plan.raw_features)
        for name, values in graph.run(request).items():
            found = program.run(request)[name]
            assert found.dtype == values.dtype
            np.testing.assert_allclose(found, values, rtol=1e-6)


def test_the_form_and_its_reason_stand_in_step_json_and_in_the_explanation(plan, steps, numpy_step):
    settings = json.loads((numpy_step / "step.json").read_text())
    assert (settings["backend"], (numpy_step / "model.onnx").exists()) == ("numpy", False)
    assert "strings, above 5" in settings["backend_reason"]
    assert json.loads((steps[0] / "step.json").read_text())["backend"] == "onnx"
    item, category, _ = explain_workflow(plan.fitted.workflow, tie_breaker_column="position")
    assert item.backend.name == "numpy"
    assert "table on disk, strings" in item.lookups
    assert category.backend.name == "onnx"
    cells = list(explained_table([item, category]).columns[-1].cells)
    assert cells == [f"numpy: {item.backend.reason}", "onnx"]


def test_an_unknown_form_is_refused(numpy_step):
    settings = json.loads((numpy_step / "step.json").read_text())
    (numpy_step / "step.json").write_text(json.dumps(settings | {"backend": "duckdb"}))
    with pytest.raises(ValueError, match="backend 'duckdb', this runtime knows onnx, numpy"):
        open_step(numpy_step)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (np.arange(6), "6 integers, above 5"),
        (np.array([NULL_INT64, 0, 1, 2, 3, 4]), None),
        (np.array([b"a", b"b", b"c", b"d"]), "4 strings, above 3"),
        (np.array([b"", b"a", b"b", b"c"]), None),
    ],
)
def test_the_graph_is_served_up_to_the_limits(monkeypatch, keys, reason):
    monkeypatch.setattr(backend_choice, "STRING_KEYS_LIMIT", 3)
    monkeypatch.setattr(backend_choice, "INTEGER_KEYS_LIMIT", 5)
    backend = choose_backend(lookup_program(keys))
    assert backend.name == ("numpy" if reason else "onnx")
    assert (backend.reason or "").endswith(reason or "")


def test_what_onnx_has_no_equal_for_is_served_by_numpy(plan):
    program = compile_plan(plan).program
    assert choose_backend(program).name == "onnx"
    unknown = Program((*program.instructions, Instruction("soundex", (0,), "int64")), program.outputs)
    assert choose_backend(unknown).reason == "ONNX has no equal for 'soundex'"


def test_strings_are_found_whole(tmp_path):
    keys = np.array(sorted(text.encode() for text in ("a", "ab", "abc", "ø", "øø")))
    lookup_program(keys).save(tmp_path)
    loaded = Program.load(tmp_path)
    assert codes(loaded, ["a", "ab", "abc", "ø", "øø"]) == [3, 4, 5, 6, 7]
    assert codes(loaded, ["abcd", "abcdefgh", "øøø", "", "b"]) == [2] * 5  # longer than all keys, and unknown


def test_a_key_with_a_nul_is_left_out_since_no_request_may_hold_one():
    table = sorted_keys(np.array(["b", "a\0", "a", "\0c"], dtype=object), np.arange(4))
    assert table["keys"].tolist() == [b"a", b"b"]
    assert table["values"].tolist() == [2, 0]


@pytest.mark.parametrize("keys", [np.arange(5_000_000) * 977, np.arange(500_000).astype("S12")], ids=["int", "str"])
def test_a_large_vocabulary_is_mapped_and_never_copied(tmp_path, keys):
    keys = np.sort(keys)
    lookup_program(keys).save(tmp_path / "program")
    kind = "string" if keys.dtype.kind == "S" else "integer"
    signature = Signature(1, 1, "item_id", (Feature("item_id", kind),), 5, 9, 64, 100, 64, 9, ())
    ItemIndex.of(np.array(["a"], dtype=object) if kind == "string" else np.array([1])).save(tmp_path)
    write_step(tmp_path, CompiledFeatures(signature, ("excluded__1", "allowed__2"), "feature__0", "numpy", "large"))
    wanted = keys[[0, 123_456, -1]]
    wanted = np.append(wanted, [b"unknown-and-longer-than-any"] if kind == "string" else [5])
    request = {"item_id": wanted.astype(object if kind == "string" else np.int64)[None]}

    tracemalloc.start()  # counts numpy's arrays too, but nothing that is mapped
    step = open_step(tmp_path)
    assert isinstance(step, FeaturesStep)
    answer = step.run(request)["codes"][0].tolist()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer == [3, 123_459, 2 + len(keys), 2]
    assert peak < 1_000_000 < keys.nbytes
