"""Retrieval of native bundles: its list is baked in, its configuration is for Triton's own backends, on a GPU where one is
asked for, which none runs here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import nextitem_export
from export.tests.support.formats import EACH_FORMAT
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step
from nextitem_export import ExportError, ExportOptions
from nextitem_export.layouts import LAYOUTS
from nextitem_export.layouts.native import bake_availability
from nextitem_export.layouts.steps import write_steps
from nextitem_export.retrieval.tensors import CODES, OUTPUTS
from nextitem_export.wire import request_tensors


@pytest.fixture(scope="module", params=EACH_FORMAT)
def built(request, shop, plan, tmp_path_factory):
    """The features and retrieval steps of the Python runtime."""
    return shop.steps_of(plan, tmp_path_factory.mktemp(request.param), format=request.param)[:2]


@pytest.fixture
def retrieval(built, tmp_path):
    shutil.copytree(built[1], tmp_path / "retrieval")
    return tmp_path / "retrieval"


@pytest.fixture
def encoded(built, plan):
    """The retrieval step's tensors for some sessions."""
    return {
        name: values
        for name, values in open_step(built[0]).run(request_tensors(plan.sessions[:5], plan.raw_features)).items()
        if name != "top_k_checked"
    }


def test_the_list_at_export_is_a_constant_of_the_retrieval_step(retrieval, encoded, plan):
    free = open_step(retrieval).run(encoded)
    barred = plan.vocabulary.values[:2].tolist()
    (retrieval / "availability.json").write_text(json.dumps({"unavailable": barred}))
    due = open_step(retrieval).run(encoded)
    assert not np.array_equal(due[CODES], free[CODES])
    bake_availability(retrieval, {name: values[:2] for name, values in encoded.items()})
    (retrieval / "availability.json").write_text(json.dumps({"unavailable": []}))  # which nothing reads
    step = open_step(retrieval)
    assert (step.inputs, step.outputs) == (tuple(encoded), OUTPUTS)
    found = step.run(encoded)
    for name in OUTPUTS:
        np.testing.assert_array_equal(found[name], due[name])
    assert not np.isin(found[CODES], (FIRST_ITEM, FIRST_ITEM + 1)).any()


def test_what_only_the_python_runtime_reads_is_gone(retrieval, encoded):
    before = {path.name for path in retrieval.iterdir()}
    bake_availability(retrieval, {name: values[:2] for name, values in encoded.items()})
    gone = before - {path.name for path in retrieval.iterdir()}
    assert gone == {"availability.json", "item_keys.npy", "item_codes.npy"}


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_the_baked_retrieval_takes_any_number_of_sessions(retrieval, encoded, rows):
    few = {name: np.resize(values, (rows, values.shape[1])) for name, values in encoded.items()}
    due = open_step(retrieval).run(few)
    bake_availability(retrieval, {name: values[:2] for name, values in encoded.items()})
    found = open_step(retrieval).run(few)
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], due[name], rtol=1e-6)


def test_no_path_of_this_machine_is_kept(retrieval, encoded):
    bake_availability(retrieval, {name: values[:2] for name, values in encoded.items()})
    here = str(Path(nextitem_export.__file__).parent).encode()
    assert not [file for file in retrieval.rglob("*") if file.is_file() and here in file.read_bytes()]
    if (retrieval / "model.onnx").exists():
        names = {given.name for given in onnx.load(retrieval / "model.onnx").graph.input}
        assert names == set(encoded)


def configurations(plan, tmp_path, **chosen) -> dict[str, str]:
    """config.pbtxt by step."""
    options = ExportOptions(runtime="native", **chosen)
    layout = LAYOUTS["ensemble"]("shop")
    write_steps(layout.folders(tmp_path, 1), plan, options)
    layout.assemble(tmp_path, plan, options)
    layout.write_configs(tmp_path, plan, options)
    return {name: (tmp_path / name / "config.pbtxt").read_text() for name in layout.models}


@pytest.mark.parametrize("accelerator", ["cuda", "tensorrt"])
def test_the_retrieval_step_alone_is_put_on_the_gpu(plan, tmp_path, accelerator):
    written = configurations(plan, tmp_path, accelerator=accelerator)
    assert "KIND_GPU" in written["shop_retrieval"]
    assert "KIND_CPU" not in written["shop_retrieval"]
    assert ('name: "tensorrt"' in written["shop_retrieval"]) == (accelerator == "tensorrt")
    assert "without one the load fails" in written["shop_retrieval"]
    for step in ("shop_features", "shop_items"):
        assert "KIND_CPU" in written[step]
        assert "KIND_GPU" not in written[step]


def test_without_one_everything_is_on_the_cpu(plan, tmp_path):
    assert not any("KIND_GPU" in text for text in configurations(plan, tmp_path).values())


@pytest.mark.parametrize(
    ("chosen", "part"),
    [
        ({"runtime": "python"}, "is for retrieval with ExportOptions(runtime='native')"),
        ({"accelerator": "tensorrt", "format": "torchscript"}, "a part of ONNX Runtime, which TorchScript has not"),
        ({"scoring": "int8-rerank"}, "would look at the catalogue on the CPU: give ExportOptions(scoring='exact')"),
        ({"accelerator": "rocm"}, "unknown accelerator 'rocm', known are none, cuda, tensorrt"),
    ],
)
def test_what_cannot_run_there_is_refused(chosen, part):
    with pytest.raises(ExportError) as caught:
        ExportOptions(**{"runtime": "native", "accelerator": "cuda", **chosen})
    assert part in str(caught.value)
