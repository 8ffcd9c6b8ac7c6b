"""What runs in the server's processes: a compiled workflow needs nothing of NVTabular."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def libraries_of(model: str) -> str:
    """What the process of a step has mapped, one file a line."""
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if "python_backend_stub" in command and f"/{model}/" in command:
                return (folder / "maps").read_text()
        except (OSError, UnicodeError):
            continue
    raise AssertionError(f"no process serves {model}")


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs Linux's /proc")
@pytest.mark.parametrize("model", ["shop_features", "shop_ranker", "shop_items"])
def test_a_compiled_bundle_is_served_without_nvtabular_and_pandas(server, model: str) -> None:
    mapped = libraries_of(model)
    assert "onnxruntime" in mapped
    for library in ("/pandas/", "/pyarrow/", "/numba/", "/llvmlite/", "/torch/"):
        assert library not in mapped, library
    assert "/pandas/" in libraries_of("shop_nvtabular_features")  # and the test would see it
