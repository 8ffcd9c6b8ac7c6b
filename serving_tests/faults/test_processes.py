"""What runs in the server's processes: a compiled workflow needs nothing of NVTabular."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nextitem_server import TritonServer


def libraries_of(server: TritonServer, model: str) -> str:
    """What the process of a step of this server has mapped, one file a line."""
    path = f"{server.repository.resolve()}/{model}/"
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            program, *arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if program.endswith("python_backend_stub") and any(path in argument for argument in arguments):
                return (folder / "maps").read_text()
        except OSError:
            continue  # it ended meanwhile
    raise AssertionError(f"no process serves {model}")


@pytest.mark.beside_the_server
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs Linux's /proc")
@pytest.mark.parametrize("model", ["shop_features", "shop_retrieval", "shop_items"])
def test_a_compiled_bundle_is_served_without_nvtabular_and_pandas(server: TritonServer, model: str) -> None:
    mapped = libraries_of(server, model)
    assert "onnxruntime" in mapped
    for library in ("/pandas/", "/pyarrow/", "/numba/", "/llvmlite/", "/torch/"):
        assert library not in mapped, library
    assert "/pandas/" in libraries_of(server, "shop_nvtabular_features")  # and the test would see it
