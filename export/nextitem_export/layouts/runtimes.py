"""What differs between Triton's Python backend and its own ones, whatever the layout."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nextitem_bundle import runtime
from nextitem_bundle.config import StepConfig

from ..graphs.features import write_features
from ..native.configuration import as_native
from ..native.lint import check_model
from ..native.steps import bake_availability, write_native_features
from ..options import ExportOptions
from ..plan import Plan

#: A file of this name beside model.py keeps Python from making its folder of compiled files: Triton would take a version with
#: a new file in it for another one, and load it once more at the next switch.
NO_CACHE = "__pycache__"

_MODEL_PY = '''"""{what} of the nextitem bundle "{name}"; the code is in nextitem_runtime beside this file."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # a model repository may be read-only, and its files have checksums
sys.path.insert(0, str(Path(__file__).parent))

from nextitem_runtime.triton_model import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a bundle's models are run.

    write_features: the features step's graph and step.json, into its folder. finish_ranker: from the ranker's folder and some
    encoded sessions. add_code: what a version folder needs beside its graph; `what` and `name` say the step and the bundle.
    configured: a step's configuration, from the Python backend's and its version folder. check: a written model's folder and
    version; raises ExportError.
    """

    write_features: Callable[[Plan, ExportOptions, Path], None]
    finish_ranker: Callable[[Path, Mapping[str, np.ndarray]], None]
    add_code: Callable[[Path, str, str], None]
    configured: Callable[[StepConfig, Path, ExportOptions], StepConfig]
    check: Callable[[Path, int], None]


def _add_python_model(folder: Path, what: str, name: str) -> None:
    (folder / "model.py").write_text(_MODEL_PY.format(what=what, name=name))
    (folder / NO_CACHE).touch()
    copy_runtime(folder)


def _add_source(folder: Path, what: str, name: str) -> None:
    copy_runtime(folder)


def copy_runtime(folder: Path) -> None:
    """Put the runtime's source into a version folder; clients answer with it in-process, whatever Triton runs."""
    target = folder / "nextitem_runtime"
    target.mkdir()
    for module in sorted(Path(runtime.__file__).parent.glob("*.py")):
        shutil.copy(module, target)


RUNTIMES: dict[str, Runtime] = {
    "python": Runtime(
        write_features=lambda plan, options, folder: write_features(plan, options.features, folder),
        finish_ranker=lambda folder, encoded: None,
        add_code=_add_python_model,
        configured=lambda config, folder, options: config,
        check=lambda folder, version: None,
    ),
    "native": Runtime(
        write_features=lambda plan, options, folder: write_native_features(plan, folder),
        finish_ranker=bake_availability,
        add_code=_add_source,
        configured=as_native,
        check=check_model,
    ),
}
