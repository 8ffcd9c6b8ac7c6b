"""The only module that reads a config.pbtxt, as the protobuf message that tritonclient carries."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextitem_client._exceptions import BundleError, MissingPackage


@dataclass(frozen=True)
class EnsembleStep:
    """One step of a bundle: the step's tensor names to the bundle's."""

    model: str
    version: int
    input_map: Mapping[str, str]
    output_map: Mapping[str, str]


@dataclass(frozen=True)
class ModelConfig:
    """What stands in a config.pbtxt.

    versions: those that its policy names. steps: those of an ensemble; a model of its own is its one step.
    """

    name: str
    versions: tuple[int, ...]
    parameters: Mapping[str, str]
    steps: tuple[EnsembleStep, ...]


def read_model_config(path: Path) -> ModelConfig:
    """Read a config.pbtxt. Raises BundleError, MissingPackage."""
    try:
        message: Any = importlib.import_module("tritonclient.grpc.model_config_pb2").ModelConfig()
        text_format: Any = importlib.import_module("google.protobuf.text_format")
    except ImportError as error:
        raise MissingPackage(
            f"Triton's model configuration cannot be imported ({error}). Install it with: "
            "pip install 'tritonclient[grpc]>=2.51'"
        ) from error
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise BundleError(f"{path} cannot be read as the configuration of a Triton model: {error}.") from None
    versions = tuple(int(version) for version in message.version_policy.specific.versions)
    return ModelConfig(
        name=str(message.name),
        versions=versions,
        parameters={str(name): str(message.parameters[name].string_value) for name in message.parameters},
        steps=_steps(message, versions),
    )


def _steps(message: Any, versions: tuple[int, ...]) -> tuple[EnsembleStep, ...]:
    if message.HasField("ensemble_scheduling"):
        return tuple(
            EnsembleStep(str(step.model_name), int(step.model_version), dict(step.input_map), dict(step.output_map))
            for step in message.ensemble_scheduling.step
        )
    inputs, outputs = ({str(t.name): str(t.name) for t in tensors} for tensors in (message.input, message.output))
    return tuple(EnsembleStep(str(message.name), version, inputs, outputs) for version in versions[:1])
