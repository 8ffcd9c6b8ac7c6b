"""Which formats are tried in which order, and what is said where none passes."""

from __future__ import annotations

import pytest

from nextitem_export import ParityError, UnsupportedModel
from nextitem_export.retrieval.formats import CHOICES, FORMATS, formats_to_try, reason_of, refusal

BOTH = ("onnx", "onnx_dynamo")


def test_all_formats_may_be_asked_for_by_name():
    assert set(FORMATS) < set(CHOICES)
    assert CHOICES[0] == "onnx"


@pytest.mark.parametrize(
    ("asked", "active", "formats"),
    [
        ("onnx", None, BOTH),
        ("onnx", "onnx", BOTH),
        ("onnx", "onnx_dynamo", BOTH[::-1]),
        ("onnx", "torchscript", BOTH),
        ("auto", None, (*BOTH, "torchscript")),
        ("auto", "onnx", BOTH),
        ("auto", "onnx_dynamo", BOTH[::-1]),
        ("auto", "torchscript", ("torchscript", *BOTH)),
        ("onnx_dynamo", "onnx", ("onnx_dynamo",)),
        ("torchscript", "onnx", ("torchscript",)),
    ],
)
def test_the_format_of_the_version_that_answers_comes_first_and_torchscript_last(asked, active, formats):
    assert formats_to_try(asked, active, onnx_file=False, torchscript=True) == formats


def test_torchscript_is_left_out_where_other_options_exclude_it():
    assert formats_to_try("auto", None, onnx_file=False, torchscript=False) == BOTH


@pytest.mark.parametrize(
    ("asked", "formats"), [("onnx", ("onnx",)), ("auto", ("onnx",)), ("torchscript", ("torchscript",))]
)
def test_one_way_leads_from_an_onnx_file(asked, formats):
    assert formats_to_try(asked, "onnx_dynamo", onnx_file=True, torchscript=True) == formats


def test_a_reason_is_one_line_without_paths():
    error = UnsupportedModel("\nno graph: at /usr/lib/python/torch/nn.py:3, of a/b and 1/2\nTraceback")
    assert reason_of(error) == "no graph: at nn.py:3, of a/b and 1/2"
    assert reason_of(UnsupportedModel()) == "UnsupportedModel"


def test_one_attempt_alone_is_refused_by_its_own_error():
    error = UnsupportedModel("no graph")
    assert refusal("Mean", "onnx_dynamo", {"onnx_dynamo": error}, withheld=False) is error


def test_several_are_listed_with_each_reason_and_the_remedy():
    errors = {"onnx": UnsupportedModel("no graph"), "onnx_dynamo": UnsupportedModel("no program")}
    found = refusal("Mean", "onnx", errors, withheld=False)
    assert type(found) is UnsupportedModel
    assert str(found).splitlines() == [
        "Mean passes in none of the formats that were tried:",
        "- onnx: no graph",
        "- onnx_dynamo: no program",
        "ExportOptions(format='auto') tries TorchScript too, for which the server needs torch",
    ]
    assert "--format auto tries TorchScript too" in found.in_flags()


def test_torchscript_that_would_follow_onnx_is_named():
    errors = {"onnx": UnsupportedModel("no graph"), "onnx_dynamo": UnsupportedModel("no program")}
    said = str(refusal("Mean", "auto", errors, withheld=True))
    assert said.endswith("since the version that answers is ONNX: give ExportOptions(replace=True)")
    assert str(refusal("Mean", "auto", errors, withheld=False)).endswith("- onnx_dynamo: no program")


def test_a_graph_that_answered_otherwise_makes_it_a_parity_error():
    errors = {"onnx": ParityError("at rank 3"), "onnx_dynamo": UnsupportedModel("no program")}
    assert type(refusal("Mean", "onnx", errors, withheld=False)) is ParityError
