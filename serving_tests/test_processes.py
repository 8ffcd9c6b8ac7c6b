"""What runs in the server's processes: a compiled workflow needs nothing of NVTabular."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def libraries_of(model: str) -> str:
    """What the process of a step of this test's server has mapped, one file a line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if "python_backend_stub" in command and f"/{model}/" in command and _is_ours(int(folder.name)):
                return (folder / "maps").read_text()
        except OSError:
            continue  # it ended meanwhile
    raise AssertionError(f"no process serves {model}")


def _is_ours(process: int) -> bool:
    while process > 1:
        if process == os.getpid():
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs Linux's /proc")
@pytest.mark.parametrize("model", ["shop_features", "shop_ranker", "shop_items"])
def test_a_compiled_bundle_is_served_without_nvtabular_and_pandas(server, model: str) -> None:
    mapped = libraries_of(model)
    assert "onnxruntime" in mapped
    for library in ("/pandas/", "/pyarrow/", "/numba/", "/llvmlite/", "/torch/"):
        assert library not in mapped, library
    assert "/pandas/" in libraries_of("shop_nvtabular_features")  # and the test would see it
