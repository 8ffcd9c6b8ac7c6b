"""What runs the retrieval step: Triton's Python backend or its own backends. The steps around it run in the Python backend."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nextitem_bundle import runtime
from nextitem_bundle.config import StepConfig

from ..options import ExportOptions
from ..workflow.backend_choice import NUMPY, BackendChoice
from .native import as_native, bake_availability

#: A file of this name beside model.py keeps Python from making its folder of compiled files: Triton would take a version with
#: a new file in it for another one, and load it once more at the next switch.
NO_CACHE = "__pycache__"

_MODEL_PY = '''"""{what} of the nextitem bundle "{name}"; the code is in nextitem_runtime beside this file."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # a model repository may be read-only, and its files have checksums
sys.path.insert(0, str(Path(__file__).parent))

from nextitem_runtime.triton.model import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a bundle's models are run.

    backend: of the steps around the retrieval step, None for the compiler's choice. finish_retrieval: from its folder and some
    encoded sessions. add_retrieval_code: what its version folder needs beside the graph; `what` and `name` say the step and the
    bundle. configured: the retrieval step's configuration, from the Python backend's and its version folder.
    """

    backend: BackendChoice | None
    finish_retrieval: Callable[[Path, Mapping[str, np.ndarray]], None]
    add_retrieval_code: Callable[[Path, str, str], None]
    configured: Callable[[StepConfig, Path, ExportOptions], StepConfig]


def add_python_model(folder: Path, what: str, name: str) -> None:
    """Make a model of Triton's Python backend of a version folder; `what` and `name` say the step and the bundle."""
    (folder / "model.py").write_text(_MODEL_PY.format(what=what, name=name))
    (folder / NO_CACHE).touch()
    copy_runtime(folder)


def copy_runtime(folder: Path) -> None:
    """Put the runtime's source into a version folder; clients answer with it in-process, whatever Triton runs."""
    source = Path(runtime.__file__).parent
    shutil.copytree(source, folder / "nextitem_runtime", ignore=shutil.ignore_patterns("__pycache__"))


RUNTIMES: dict[str, Runtime] = {
    "python": Runtime(
        backend=None,
        finish_retrieval=lambda folder, encoded: None,
        add_retrieval_code=add_python_model,
        configured=lambda config, folder, options: config,
    ),
    "native": Runtime(
        backend=BackendChoice(NUMPY, "NVIDIA's images have no ONNX Runtime for Python"),
        finish_retrieval=bake_availability,
        add_retrieval_code=lambda folder, what, name: copy_runtime(folder),
        configured=as_native,
    ),
}
