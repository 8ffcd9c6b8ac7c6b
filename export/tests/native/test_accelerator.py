"""Configuration of the ranker for a GPU; none runs it here."""

from __future__ import annotations

import pytest

from nextitem_export import ExportError, ExportOptions
from nextitem_export.layouts import LAYOUTS
from nextitem_export.layouts.steps import write_steps


def configurations(plan, tmp_path, **chosen) -> dict[str, str]:
    """config.pbtxt by step."""
    options = ExportOptions(runtime="native", **chosen)
    layout = LAYOUTS["ensemble"]("shop")
    write_steps(layout.folders(tmp_path, 1), plan, options)
    layout.assemble(tmp_path, plan, options)
    layout.write_configs(tmp_path, plan, options)
    return {name: (tmp_path / name / "config.pbtxt").read_text() for name in layout.models}


@pytest.mark.parametrize("accelerator", ["cuda", "tensorrt"])
def test_the_ranker_alone_is_put_on_the_gpu(plan, tmp_path, accelerator):
    written = configurations(plan, tmp_path, accelerator=accelerator)
    assert "KIND_GPU" in written["shop_ranker"]
    assert "KIND_CPU" not in written["shop_ranker"]
    assert ('name: "tensorrt"' in written["shop_ranker"]) == (accelerator == "tensorrt")
    assert "without one the load fails" in written["shop_ranker"]
    for step in ("shop_features", "shop_items"):
        assert "KIND_CPU" in written[step]
        assert "KIND_GPU" not in written[step]


def test_without_one_everything_is_on_the_cpu(plan, tmp_path):
    assert not any("KIND_GPU" in text for text in configurations(plan, tmp_path).values())


@pytest.mark.parametrize(
    ("chosen", "part"),
    [
        ({"runtime": "python"}, "is for the ranker of ExportOptions(runtime='native', layout='ensemble')"),
        ({"layout": "fused"}, "is for the ranker of ExportOptions(runtime='native', layout='ensemble')"),
        ({"accelerator": "tensorrt", "format": "torchscript"}, "a part of ONNX Runtime, which TorchScript has not"),
        ({"scoring": "int8-rerank"}, "would look at the catalogue on the CPU: give ExportOptions(scoring='exact')"),
        ({"accelerator": "rocm"}, "unknown accelerator 'rocm', known are none, cuda, tensorrt"),
    ],
)
def test_what_cannot_run_there_is_refused(chosen, part):
    with pytest.raises(ExportError) as caught:
        ExportOptions(**{"runtime": "native", "accelerator": "cuda", **chosen})
    assert part in str(caught.value)
