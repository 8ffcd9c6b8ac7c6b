"""config.pbtxt as Triton's own protobuf message. The one module that knows that message."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .errors import BundleError
from .file_names import file_name
from .versions import CONFIG, WARM_UP

PYTHON_BACKEND = "python"
"""Triton's Python backend, in the embedded server and in NVIDIA's images."""


@functools.cache
def _pb() -> Any:
    """Triton's messages. Imported when they are needed: who only asks a server never reads a configuration."""
    return importlib.import_module("tritonclient.grpc.model_config_pb2")


@functools.cache
def _text_format() -> Any:
    return importlib.import_module("google.protobuf.text_format")


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A tensor of a model.

    Attributes:
        name: the tensor's name.
        datatype: the KServe v2 datatype.
        dims: the shape, without the batch where the model is batched.
        optional: a request may leave it out.
        ragged: requests with other dims may come in one batch.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False
    ragged: bool = False


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """One warm-up request.

    Attributes:
        name: the request's name.
        tensors: name to array with its whole shape, the batch included.
    """

    name: str
    tensors: Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Batching:
    """How Triton joins requests to a batch.

    Attributes:
        preferred_size: the largest number of sessions in a batch. None: all that wait; the model makes batches of them
            itself.
        max_queue_delay_us: microseconds that a request waits for others to join its batch.
        queue_timeout_ms: milliseconds after which a request that still waits is refused. 0: no limit; anything else
            costs (docs/tuning.md).
    """

    preferred_size: int | None
    max_queue_delay_us: int = 0
    queue_timeout_ms: int = 0


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """The configuration of a step, a model of Triton's Python backend unless another is named.

    Attributes:
        name: the model's name.
        inputs: its input tensors.
        outputs: its output tensors.
        max_batch_size: the largest batch. 0 where the batch is one of the dims.
        batching: how Triton joins requests. None: not at all.
        instances: processes, each of which answers one batch at a time.
        warm_ups: requests that run at load, before the model counts as ready.
        warm_up_folder: where in `warmup/` the warm-up data are.
        version: the version that is served. None: all.
        parameters: name to what is stored as a JSON document.
        reasons: the beginning of a field in config.pbtxt to the comment in front of it.
        backend: Triton's name of the backend.
        accelerator: `cuda` or `tensorrt` for a model that runs on a GPU; `none`.
        backend_parameters: settings of another backend than Python, by its own names.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    batching: Batching | None = None
    instances: int = 1
    warm_ups: tuple[WarmUp, ...] = ()
    warm_up_folder: str = ""
    version: int | None = None
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    backend: str = PYTHON_BACKEND
    accelerator: str = "none"
    backend_parameters: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def write(self, folder: Path) -> None:
        """Write config.pbtxt and the warm-up data.

        Args:
            folder: the model's folder.
        """
        config = _pb().ModelConfig(name=self.name, backend=self.backend, max_batch_size=self.max_batch_size)
        _add_tensors(config, self.inputs, self.outputs)
        if self.version is None:
            config.version_policy.all.SetInParent()
        else:
            config.version_policy.specific.versions.append(self.version)
        _add_parameters(config, self.parameters)
        for key, value in self.backend_parameters.items():
            config.parameters[key].string_value = value
        group = _pb().ModelInstanceGroup
        on_gpu = self.accelerator != "none"
        config.instance_group.add(kind=group.KIND_GPU if on_gpu else group.KIND_CPU, count=self.instances)
        if self.accelerator == "tensorrt":
            config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
        if self.batching is not None:
            _add_batching(config, self.batching)
        for warm_up in self.warm_ups:
            _add_warm_up(config, self, warm_up, folder / WARM_UP)
        _write(config, folder, {**_REASONS, **self.reasons})


#: Why these fields are as they are: a comment in front of each in config.pbtxt.
_REASONS = {
    "instance_group {": "Processes of this model: each keeps one core busy and holds all weights again.",
    "dynamic_batching {": (
        "What has arrived while a batch was answered becomes the next one; with no delay, nobody waits for company. No limit "
        "on the queue here, as that makes Triton 24.10 miss requests for up to 500 ms."
    ),
    "model_warmup {": "A graph's first calls take many times as long: batch sizes that matter are asked before it is ready.",
}


@dataclasses.dataclass(frozen=True)
class EnsembleStep:
    """A step in the ensemble, in one of its versions.

    Attributes:
        model: the step's model.
        version: its version.
        input_map: the step's input tensors to the ensemble's tensors.
        output_map: the step's output tensors to the ensemble's tensors.
    """

    model: str
    version: int
    input_map: Mapping[str, str]
    output_map: Mapping[str, str]


def write_ensemble(
    folder: Path,
    name: str,
    version: int,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    steps: Sequence[EnsembleStep],
    parameters: Mapping[str, Any],
) -> None:
    """Write the ensemble's config.pbtxt.

    Args:
        folder: the ensemble's folder.
        name: the ensemble's name.
        version: the version that is served.
        inputs: its input tensors.
        outputs: its output tensors.
        steps: in the order in which they run.
        parameters: name to what is stored as a JSON document.
    """
    config = _pb().ModelConfig(name=name, platform="ensemble", max_batch_size=0)
    _add_tensors(config, inputs, outputs)
    config.version_policy.specific.versions.append(version)
    _add_parameters(config, parameters)
    for step in steps:
        entry = config.ensemble_scheduling.step.add(model_name=step.model, model_version=step.version)
        entry.input_map.update(step.input_map)
        entry.output_map.update(step.output_map)
    _write(config, folder)


def _add_tensors(config: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    for spec in inputs:
        config.input.add(
            name=spec.name,
            data_type=_data_type(spec),
            dims=spec.dims,
            optional=spec.optional,
            allow_ragged_batch=spec.ragged,
        )
    for spec in outputs:
        config.output.add(name=spec.name, data_type=_data_type(spec), dims=spec.dims)


def _add_parameters(config: Any, parameters: Mapping[str, Any]) -> None:
    for key, document in parameters.items():
        config.parameters[key].string_value = json.dumps(document)


def _add_batching(config: Any, batching: Batching) -> None:
    dynamic = config.dynamic_batching
    if batching.preferred_size is not None:
        dynamic.preferred_batch_size.append(batching.preferred_size)
    dynamic.max_queue_delay_microseconds = batching.max_queue_delay_us
    if batching.queue_timeout_ms:
        # Any policy, also a mere max_queue_size, ends Triton's prefetching, and then its batcher misses requests that come
        # while the model is busy: it looks for them when the next one comes or after 500 ms.
        dynamic.default_queue_policy.default_timeout_microseconds = batching.queue_timeout_ms * 1000


def _add_warm_up(config: Any, step: StepConfig, warm_up: WarmUp, folder: Path) -> None:
    (folder / step.warm_up_folder).mkdir(parents=True, exist_ok=True)
    batched = step.max_batch_size > 0
    specs = {spec.name: spec for spec in step.inputs}
    first = next(iter(warm_up.tensors.values()))
    entry = config.model_warmup.add(name=warm_up.name, batch_size=len(first) if batched else 1)
    for name, values in warm_up.tensors.items():
        # For a batched model Triton repeats the file's one row; so write one row for it.
        data = values[:1] if batched else values
        place = f"{step.warm_up_folder}/{warm_up.name}-{file_name(name)}".lstrip("/")
        raw = _bytes_of(data)
        (folder / place).write_bytes(raw)
        tensor = entry.inputs[name]
        tensor.data_type = _data_type(specs[name])
        tensor.dims.extend(data.shape[1:] if batched else data.shape)
        tensor.input_data_file = place


def _bytes_of(data: NDArray[Any]) -> bytes:
    """As Triton reads them from a file: strings with their lengths in front."""
    if data.dtype != object:
        return data.tobytes()
    return importlib.import_module("tritonclient.utils").serialize_byte_tensor(data).item()


def _data_type(spec: TensorSpec) -> int:
    name = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    return _pb().DataType.Value(name)


def _write(config: Any, folder: Path, reasons: Mapping[str, str] | None = None) -> None:
    text = _text_format().MessageToString(config, as_utf8=True)
    for field, reason in (reasons or {}).items():
        text = re.sub(f"^{field}", f"# {reason}\n{field}", text, count=1, flags=re.MULTILINE)
    (folder / CONFIG).write_text(text, encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Config:
    """What stands in a model's config.pbtxt.

    Attributes:
        name: the model's name.
        versions: those that its version policy names.
        inputs: its input tensors.
        outputs: its output tensors.
        parameters: name to text.
        steps: of an ensemble, in the order in which they run; () of another model.
    """

    name: str
    versions: tuple[int, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]
    steps: tuple[EnsembleStep, ...]


def read_config(path: Path) -> Config:
    """Read a config.pbtxt.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        BundleError: the file cannot be read as a configuration.
        ImportError: tritonclient is not installed.
    """
    config = _parsed(path)
    return Config(
        name=config.name,
        versions=tuple(config.version_policy.specific.versions),
        inputs=tuple(_spec(tensor) for tensor in config.input),
        outputs=tuple(_spec(tensor) for tensor in config.output),
        parameters={key: value.string_value for key, value in config.parameters.items()},
        steps=tuple(
            EnsembleStep(step.model_name, step.model_version, dict(step.input_map), dict(step.output_map))
            for step in config.ensemble_scheduling.step
        ),
    )


def pinned_to(config: bytes, versions: Iterable[int]) -> bytes:
    """The configuration with another version policy, for the time of a switch.

    Args:
        config: the text of a config.pbtxt, in UTF-8.
        versions: the versions that are served.
    """
    message: Any = _text_format().Parse(config.decode("utf-8"), _pb().ModelConfig())
    message.version_policy.specific.versions[:] = sorted(versions)
    return _text_format().MessageToString(message, as_utf8=True).encode("utf-8")


def as_version(config: str, before: int, after: int) -> str:
    """The configuration of a model as that of another version with the same tensors and settings, comments kept.

    Args:
        config: the text of a config.pbtxt that names one version.
        before: that version.
        after: the version in its place, also as that of an ensemble's steps, of warm-up data and in the signature.
    """
    changes = {
        rf"(\bversion_policy\s*\{{\s*specific\s*\{{\s*versions:\s*){before}\b": rf"\g<1>{after}",
        rf"(\bmodel_version:\s*){before}\b": rf"\g<1>{after}",
        rf'(\binput_data_file:\s*"){before}/': rf"\g<1>{after}/",
        rf'(\\"bundle_version\\":\s*){before}\b': rf"\g<1>{after}",
    }
    for pattern, replacement in changes.items():
        config = re.sub(pattern, replacement, config)
    return config


def same_outside(one: Path, other: Path) -> bool:
    """Whether two config.pbtxt have the same inputs and outputs.

    Args:
        one: a file.
        other: the file to compare it with.

    Raises:
        BundleError: a file cannot be read as a configuration.
        ImportError: tritonclient is not installed.
    """
    first, second = (_parsed(path) for path in (one, other))
    return list(first.input) == list(second.input) and list(first.output) == list(second.output)


def _parsed(path: Path) -> Any:
    try:
        return _text_format().Parse(path.read_text(encoding="utf-8"), _pb().ModelConfig())
    except (OSError, UnicodeDecodeError, _text_format().ParseError) as error:
        raise BundleError(f"{path} cannot be read as the configuration of a Triton model: {error}") from None


def _spec(tensor: Any) -> TensorSpec:
    name = _pb().DataType.Name(tensor.data_type).removeprefix("TYPE_")
    datatype = "BYTES" if name == "STRING" else name
    return TensorSpec(tensor.name, datatype, tuple(tensor.dims), getattr(tensor, "optional", False))
