"""OfflineClient: the client's calls, answered from a bundle in this process instead of by a server."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Union, cast

import numpy as np
import numpy.typing as npt

from nextitem_bundle.config import EnsembleStep
from nextitem_bundle.manifest import MANIFEST
from nextitem_client._bundle import Bundle, import_runtime, read_bundle, runtime_module, verify_files
from nextitem_client._client import Client
from nextitem_client._exceptions import BundleError, MissingPackage, RequestRejected
from nextitem_client._transport import Inference, Reply, Transport
from nextitem_client._wire import Tensors

_RUNTIME = "nextitem_runtime"
_OLDEST_PYTHON = (3, 10)

#: What a step may import, and how it is installed; {version} is the one that the bundle was exported with.
_PIP: Mapping[str, str] = {
    "onnxruntime": "pip install 'nextitem-client[offline]'",
    "torch": "pip install 'torch>={version}'",
    "nvtabular": "pip install 'nvtabular=={version}' 'pandas<2'",
    "pandas": "pip install 'pandas<2'",
    "faiss": "pip install faiss-cpu",
}


class OfflineClient(Client):
    """Answers from a bundle on disk as a server that serves it would: the same graphs, results and errors.

    Opening a bundle runs the Python source in it. Open only what you or somebody you trust has exported: checksums find
    damage, not malice. Nothing is written. The availability list is read once, by the constructor. Threads may share a
    client.

    Args:
        bundle: the bundle's folder, `<repository>/<name>`. The version is the one that its configuration is pinned to.
        verify: compare every file with the checksums in bundle.json first.
        trust_pickle: open a bundle that holds a pickle (`--features nvtabular`), which can run any code.

    Raises:
        BundleError: the folder holds no bundle, a damaged one, or one that is not trusted.
        UnsupportedSignature: another version of the format.
        MissingPackage: a package that the bundle needs is not installed.
    """

    def __init__(
        self, bundle: Union[str, os.PathLike[str]], *, verify: bool = True, trust_pickle: bool = False
    ) -> None:
        path = Path(bundle).resolve()
        self._bundle = _checked(path, verify=verify, trust_pickle=trust_pickle)
        super().__init__("http://in.process:1", self._bundle.name, retries=0)  # an address that is never used
        self._address = replace(self._address, url=str(path))  # what errors name

    def __enter__(self) -> OfflineClient:
        self._require_open()
        return self

    def _connect(self) -> Transport:
        return _InProcessTransport(self._bundle)


def _checked(path: Path, *, verify: bool, trust_pickle: bool) -> Bundle:
    bundle = read_bundle(path)
    if bundle.holds_pickle and not trust_pickle:
        raise BundleError(
            f"The bundle {bundle.name} holds a pickled workflow (it was exported with --features nvtabular), and "
            "opening a pickle can run any code. If it is your own, open it with trust_pickle=True (--trust-pickle)."
        )
    if verify:
        verify_files(bundle)
    return bundle


class _InProcessTransport:
    """A Transport to the steps in this process, which know no timeout."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._steps = InProcess(bundle)

    def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        return [self._bundle.name]

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        return self._bundle.parameters

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See Transport."""
        return Reply(self._steps.answer(inference.inputs, inference.outputs), str(self._bundle.version))

    def close(self) -> None:
        """See Transport."""


class _Step(Protocol):
    """What a bundle's runtime opens."""

    inputs: tuple[str, ...]

    def run(self, tensors: Tensors) -> dict[str, npt.NDArray[Any]]: ...


class InProcess:
    """The steps of a bundle, opened. Threads may share it. Raises BundleError, MissingPackage."""

    def __init__(self, bundle: Bundle) -> None:
        if sys.version_info < _OLDEST_PYTHON:
            found, needed = (".".join(map(str, version[:2])) for version in (sys.version_info, _OLDEST_PYTHON))
            raise BundleError(
                f"The runtime inside a bundle needs Python {needed}, this is {found}: ask a server instead."
            )
        self._bundle = bundle
        self._steps = [(step, *_open(bundle, step)) for step in bundle.steps]
        # NVTabular does not say that threads may share a workflow; in Triton one thread has it to itself.
        self._lock = threading.Lock() if bundle.holds_pickle else nullcontext()

    def answer(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The outputs of that name, as they come over the wire. Raises RequestRejected."""
        with self._lock:
            tensors: dict[str, npt.NDArray[Any]] = dict(inputs)
            for place, step, refusal in self._steps:
                given = {
                    own: tensors[name]
                    for own, name in place.input_map.items()
                    if name in tensors and own in step.inputs
                }
                found = _run(place.model, step, given, refusal)
                tensors.update({name: found[own] for own, name in place.output_map.items() if own in found})
        return {name: _as_wire(tensors[name]) for name in outputs if name in tensors}


def _run(name: str, step: _Step, tensors: Tensors, refusal: type[Exception]) -> Mapping[str, npt.NDArray[Any]]:
    try:
        return step.run(tensors)
    except refusal as error:
        raise RequestRejected(str(error)) from None
    except Exception as error:  # a server words any fault of a step in this way
        raise RequestRejected(f"step {name} failed: {type(error).__name__}: {error}") from error


def _as_wire(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Strings as UTF-8; what else there is stays as it is."""
    if values.dtype.kind not in "OUS":
        return values
    encoded: npt.NDArray[Any] = np.empty(values.size, dtype=np.object_)
    encoded[:] = [value.encode() if isinstance(value, str) else bytes(value) for value in values.ravel().tolist()]
    return encoded.reshape(values.shape)


def _open(bundle: Bundle, place: EnsembleStep) -> tuple[_Step, type[Exception]]:
    """A step, and what it raises where a request cannot be answered."""
    folder = bundle.folder(place)
    files = list(_runtime_files(bundle, folder))
    if not files or not (folder / "step.json").is_file():
        raise BundleError(
            f"{folder} holds no {_RUNTIME} with a step.json, which answering in this process takes: it was exported "
            "for another runtime. Export the bundle with --runtime python, or ask a server."
        )
    package = import_runtime(files)
    with _explained(bundle, folder):
        open_step = cast("Callable[[Path], _Step]", runtime_module(package, "step").open_step)
        refusal = cast("type[Exception]", runtime_module(package, "request").RequestError)
        return open_step(folder), refusal


def _runtime_files(bundle: Bundle, folder: Path) -> Iterator[tuple[str, Path]]:
    """The Python files that the manifest lists: what lies beside them has no checksum and is not run."""
    prefix = f"{folder.relative_to(bundle.repository).as_posix()}/{_RUNTIME}/"
    for name in bundle.manifest.sha256:
        if name.startswith(prefix) and name.endswith(".py"):
            if not (bundle.repository / name).is_file():
                raise BundleError(f"{bundle.repository / name} is missing, and {MANIFEST} lists it: copy it again.")
            yield name[len(prefix) :], bundle.repository / name


@contextmanager
def _explained(bundle: Bundle, folder: Path) -> Generator[None, None, None]:
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _PIP:
            raise
        version = (bundle.manifest.libraries.get(missing) or "").split("+")[0]
        raise MissingPackage(
            f"The bundle {bundle.name} needs {missing}, which cannot be imported ({error}). Install it with: "
            f"{_PIP[missing].format(version=version)}"
        ) from error
    except Exception as error:
        raise BundleError(f"{folder} cannot be opened: {type(error).__name__}: {error}") from error
