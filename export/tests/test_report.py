from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from nextitem_export import Bundle
from nextitem_export.parity.gate import CaseReport
from nextitem_export.report import how_it_is_written, how_to_serve, parity_table


def test_every_case_has_a_row_with_its_numbers():
    output = io.StringIO()
    reports = [CaseReport("the sample", 60, 59, 1.5e-7, 2.5e-6), CaseReport("nulls", 12, 7, 0.0, 0.0)]
    Console(file=output, width=120).print(parity_table(reports))
    lines = output.getvalue().splitlines()
    (sample,) = [line for line in lines if "the sample" in line]
    assert [cell.strip() for cell in sample.strip("│").split("│")] == ["the sample", "60", "59", "1.5e-07", "2.5e-06"]
    assert any("nulls" in line for line in lines)
    assert any("0.0001" in line for line in lines)  # the bound


def test_a_native_bundle_s_report_says_that_no_server_ran_it():
    python, native = (how_to_serve(Path("models"), runtime) for runtime in ("python", "native"))
    assert python == "serve it with\n  nextitem-serve --model-repository models"
    assert native.startswith(f"{python} --server PATH\n")
    assert "No server has run this bundle" in native
    assert "the backends python, onnxruntime and pytorch" in native


def test_a_format_behind_others_is_told_with_the_reason_and_the_first_is_not():
    assert how_it_is_written(Bundle(Path("models"), "shop", 1, ())) is None
    tried = Bundle(Path("models"), "shop", 1, (), format="onnx_dynamo", fell_out={"onnx": "no operator"})
    assert how_it_is_written(tried) == "the session model is written as onnx_dynamo\n  onnx fell out: no operator"
