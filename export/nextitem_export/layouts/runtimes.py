"""What runs the retrieval step: Triton's Python backend or its own backends. The steps around it run in the Python backend.

And how requests are joined to batches, by Triton and by the models of its Python backend.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nextitem_bundle import runtime
from nextitem_bundle.config import Batching, StepConfig, TensorSpec
from nextitem_bundle.runtime.steps import Queue, read_step, write_step
from nextitem_bundle.versions import NO_CACHE

from ..options import ExportOptions
from ..retrieval.formats import FORMATS
from ..workflow.backend_choice import NUMPY, BackendChoice
from .native import as_native, bake_availability

#: More than any request holds: Triton would refuse what is beyond in words of its own, which name no tensor and another limit.
_MAX_BATCH_SIZE = 2**20

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
    encoded sessions. add_retrieval_code: what its version folder needs beside the graph; `name` is the bundle's. configured:
    the retrieval step's configuration, from the Python backend's and its version folder.
    """

    backend: BackendChoice | None
    finish_retrieval: Callable[[Path, Mapping[str, np.ndarray]], None]
    add_retrieval_code: Callable[[Path, str, ExportOptions], None]
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


def batching(options: ExportOptions) -> Batching:
    """How requests to the retrieval step, or to the fused model, are joined."""
    return Batching(
        preferred_size=min(options.preferred_batch_size, options.max_sessions),
        max_queue_delay_us=options.max_queue_delay_us,
        queue_timeout_ms=options.queue_timeout_ms,
    )


def queue(options: ExportOptions) -> Queue:
    """How a model of the Python backend makes batches of what waits, and what it refuses."""
    return Queue(
        preferred_batch_size=min(options.preferred_batch_size, options.max_sessions),
        max_queue_size=options.max_queue_size,
        max_queue_ms=float(options.max_queue_ms),
        # Triton warms a batch of 64 up by 64 requests of one session.
        warm_ups=sum(warm_batches(options)),
    )


def unlimited(waiting: Queue, warm_ups: int) -> Queue:
    """The same without a limit, for a step whose requests have been answered but for their ids."""
    return dataclasses.replace(waiting, max_queue_size=0, max_queue_ms=0.0, warm_ups=warm_ups)


def queued(config: StepConfig) -> StepConfig:
    """The configuration of a model that is given all that wait, of any lengths: it makes batches and refuses the rest."""
    assert config.batching is not None
    reasons = {"max_batch_size:": "Beyond any request's: the model itself says how many sessions a request may hold."}
    return dataclasses.replace(
        config,
        inputs=tuple(dataclasses.replace(spec, ragged=spec.dims == (-1,)) for spec in config.inputs),
        max_batch_size=_MAX_BATCH_SIZE,
        batching=dataclasses.replace(config.batching, preferred_size=None),
        reasons={**config.reasons, **reasons},
    )


def warm_batches(options: ExportOptions) -> list[int]:
    """The batch sizes whose first run takes long."""
    return sorted({min(batch, options.max_sessions) for batch in FORMATS[options.format].warm_batches})


def without_batch(spec: TensorSpec) -> TensorSpec:
    """The tensor of a model whose batch is none of its dims."""
    return dataclasses.replace(spec, dims=spec.dims[1:])


def _add_queued_retrieval(folder: Path, name: str, options: ExportOptions) -> None:
    write_step(folder, dataclasses.replace(read_step(folder), queue=queue(options)))
    add_python_model(folder, "Retrieval", name)


RUNTIMES: dict[str, Runtime] = {
    "python": Runtime(
        backend=None,
        finish_retrieval=lambda folder, encoded: None,
        add_retrieval_code=_add_queued_retrieval,
        configured=lambda config, folder, options: queued(config),
    ),
    "native": Runtime(
        backend=BackendChoice(NUMPY, "NVIDIA's images have no ONNX Runtime for Python"),
        finish_retrieval=bake_availability,
        add_retrieval_code=lambda folder, name, options: copy_runtime(folder),
        configured=as_native,
    ),
}
