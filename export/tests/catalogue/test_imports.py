"""What writes a version from stored tables runs where neither torch nor NVTabular is installed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "nvtabular", "merlin", "transformers", "nextitem_training"}
MODULES = [
    *(f"retrieval.{name}" for name in ("ann", "blocks", "choice", "graph", "int8", "nodes", "scan")),
    *(f"retrieval.{name}" for name in ("session_graph", "tensors")),
    *(f"graphs.{name}" for name in ("id_decoder", "merging")),
    *(f"workflow.{name}" for name in ("backend_choice", "emit_onnx")),
    *(f"catalogue.{name}" for name in ("attributes", "rewriting", "stored", "tables", "vocabulary")),
    "wire",
]  # fmt: skip


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """What a process has loaded after importing each of the modules, one after the other."""
    code = """
import importlib, json, sys
loaded = {}
for name in sys.argv[1:]:
    importlib.import_module(f"nextitem_export.{name}")
    loaded[name] = sorted({module.split(".")[0] for module in sys.modules})
print(json.dumps(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code, *MODULES], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", MODULES)
def test_writing_graphs_loads_neither_torch_nor_nvtabular(loaded, module):
    assert not HEAVY.intersection(loaded[module])
