"""Workflows that were fitted with cuDF load without it."""

from __future__ import annotations

import sys
import types

import nvtabular as nvt
import pandas as pd
import pytest
from nvtabular import ops

from nextitem_training.errors import RunDirectoryError
from nextitem_training.workflow import load


@pytest.fixture
def cudf(monkeypatch):
    """A library of that name, which is there until `gone` is called."""
    module = types.ModuleType("cudf")

    class DataFrame:
        def __init__(self, rows=()):
            self.rows = rows

        @classmethod
        def deserialize(cls, rows):
            return cls(rows)

        def __reduce__(self):
            return self.deserialize, (self.rows,)

    DataFrame.__module__, DataFrame.__qualname__ = "cudf", "DataFrame"
    module.DataFrame = DataFrame
    monkeypatch.setitem(sys.modules, "cudf", module)
    module.gone = lambda: monkeypatch.delitem(sys.modules, "cudf")
    return module


def saved(folder, held, where):
    """A fitted workflow with an attribute of cuDF somewhere, saved as NVTabular does."""
    node = ["item"] >> ops.Categorify(out_path=str(folder))
    workflow = nvt.Workflow(node).fit(nvt.Dataset(pd.DataFrame({"item": ["a", "b", "a"]}), cpu=True))
    (workflow if where == "workflow" else workflow.output_node.op).held = held
    workflow.save(str(folder / "workflow"))
    return folder / "workflow"


@pytest.mark.parametrize("of", ["class", "object"])
def test_what_no_operator_needs_is_left_out(cudf, tmp_path, of):
    path = saved(tmp_path, cudf.DataFrame if of == "class" else cudf.DataFrame([1]), "workflow")
    cudf.gone()
    with pytest.raises(ModuleNotFoundError, match="cudf"):
        nvt.Workflow.load(str(path))
    encoded = load(path).transform(pd.DataFrame({"item": ["b", "a", "c"]}))
    assert encoded["item"].tolist() == [4, 3, 2]


def test_a_table_that_an_operator_needs_is_refused(cudf, tmp_path):
    path = saved(tmp_path, cudf.DataFrame([1]), "operator")
    cudf.gone()
    with pytest.raises(RunDirectoryError, match=r"Categorify of the workflow in .* holds a table of cuDF as 'held'"):
        load(path)


def test_another_library_that_is_missing_is_named(monkeypatch, tmp_path):
    module = types.ModuleType("shop_operators")
    module.Table = type("Table", (), {"__module__": "shop_operators"})
    monkeypatch.setitem(sys.modules, "shop_operators", module)
    path = saved(tmp_path, module.Table(), "workflow")
    monkeypatch.delitem(sys.modules, "shop_operators")
    with pytest.raises(
        RunDirectoryError, match=r"cannot be loaded \(ModuleNotFoundError: No module named 'shop_operators'"
    ):
        load(path)
