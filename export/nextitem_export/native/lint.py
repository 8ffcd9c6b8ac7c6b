"""What Triton's own backends would refuse when they load a model, or worse take without a word, told at export.

Facts of release 24.10: ONNX Runtime 1.19.2, which reads opset 21 and IR 10 at most; a tensor of another name, type
or shape fails the load; an input is optional only if the graph has a default for it and `max_batch_size` is 0; the PyTorch
backend matches names only by NAME__INDEX and takes all others by their order, silently.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto

from nextitem_bundle.config import Config, TensorSpec, read_config

from .._errors import ExportError

MAX_OPSET = 21
MAX_IR_VERSION = 10
#: ONNX Runtime has more domains, but not in every build of it.
_MAX_OPSETS = {"": MAX_OPSET, "ai.onnx.ml": 4}
_DATATYPES = {
    TensorProto.STRING: "BYTES",
    TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32",
    TensorProto.FLOAT: "FP32",
    TensorProto.BOOL: "BOOL",
}

ONNXRUNTIME, PYTORCH = "onnxruntime", "pytorch"
#: Each backend to the file that it opens.
MODEL_FILES = {ONNXRUNTIME: "model.onnx", PYTORCH: "model.pt"}


class ConfigurationError(ExportError):
    """A config.pbtxt and its model do not fit, or the model is beyond what the backend reads."""


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """What the graph says of a tensor. dims: None where they are open."""

    name: str
    datatype: str
    dims: tuple[int | None, ...]
    has_default: bool = False


def check_model(folder: Path, version: int) -> None:
    """Compare the config.pbtxt of a model's folder with the graph of this version.

    Raises ConfigurationError with every fault that was found.
    """
    config = read_config(folder / "config.pbtxt")
    if config.backend not in MODEL_FILES:
        raise ConfigurationError(
            f"{folder / 'config.pbtxt'} names the backend '{config.backend}', expected {' or '.join(MODEL_FILES)}"
        )
    file = folder / str(version) / MODEL_FILES[config.backend]
    if not file.is_file():
        raise ConfigurationError(f"{file} is missing, which Triton's backend '{config.backend}' opens")
    faults = list(_common(config))
    faults += _onnx_faults(config, file) if config.backend == ONNXRUNTIME else _torchscript_faults(config, file)
    if faults:
        raise ConfigurationError(f"{folder / 'config.pbtxt'} does not fit {file.name}: " + "; ".join(faults))


def _common(config: Config) -> Iterator[str]:
    if not config.instances:
        yield "no instance_group, which gives 2 instances on CPU, each with weights and vocabularies of its own: name the count"
    for kind in sorted(set(config.instances) - {"KIND_CPU", "KIND_GPU"}):
        yield f"an instance of {kind}, expected KIND_CPU, or KIND_GPU by the accelerator"
    if config.max_batch_size == 0 and config.dynamic_batching:
        yield "dynamic_batching with max_batch_size 0, which batches nothing"
    if config.random_warm_up:
        yield "a warm-up with random_data, which are no codes of the vocabulary and fail the load: give input_data_file"
    if config.max_batch_size:
        for spec in config.inputs:
            if spec.optional:
                yield f"input '{spec.name}' is optional, which takes max_batch_size 0; it is {config.max_batch_size}"


def _onnx_faults(config: Config, file: Path) -> Iterator[str]:
    model = onnx.load(str(file), load_external_data=False)
    yield from version_faults(model)
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    inputs = [_tensor(info, info.name in defaults) for info in graph.input]
    outputs = [_tensor(info) for info in graph.output]
    yield from _tensor_faults("input", config.inputs, inputs, config.max_batch_size)
    yield from _tensor_faults("output", config.outputs, outputs, config.max_batch_size)
    configured = {spec.name for spec in config.inputs}
    for given in inputs:
        if given.name not in configured and not given.has_default:
            yield f"the graph takes an input '{given.name}', which the configuration lacks"
    known = {given.name: given for given in inputs}
    for spec in config.inputs:
        if spec.optional and spec.name in known and not known[spec.name].has_default:
            yield f"input '{spec.name}' is optional, but the graph has no initializer of that name as its default"


def version_faults(model: onnx.ModelProto) -> Iterator[str]:
    """What of a model is beyond ONNX Runtime 1.19.2: its IR version, its opsets."""
    if model.ir_version > MAX_IR_VERSION:
        yield f"IR version {model.ir_version}, expected {MAX_IR_VERSION} at most"
    for opset in model.opset_import:
        limit = _MAX_OPSETS.get(opset.domain)
        if limit is None:
            yield f"operators of the domain '{opset.domain}', which not every build of ONNX Runtime has"
        elif opset.version > limit:
            yield f"opset {opset.version} of '{opset.domain or 'ai.onnx'}', expected {limit} at most"


def _tensor(info: Any, has_default: bool = False) -> _Tensor:
    kind = info.type.tensor_type
    dims = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)
    datatype = _DATATYPES.get(kind.elem_type, TensorProto.DataType.Name(kind.elem_type))
    return _Tensor(info.name, datatype, dims, has_default)


def _tensor_faults(
    what: str, specs: Sequence[TensorSpec], tensors: Sequence[_Tensor], max_batch_size: int
) -> Iterator[str]:
    known = {tensor.name: tensor for tensor in tensors}
    for spec in specs:
        tensor = known.get(spec.name)
        if tensor is None:
            yield f"{what} '{spec.name}' is not among the graph's, which are {', '.join(sorted(known))}"
            continue
        if spec.datatype != tensor.datatype:
            yield f"{what} '{spec.name}' is {spec.datatype}, the graph has {tensor.datatype}"
        dims = tensor.dims
        if max_batch_size:
            if not dims or dims[0] is not None:
                fixed = dims[0] if dims else "none"
                yield f"{what} '{spec.name}' is batched up to {max_batch_size}, but the graph's first dimension is {fixed}"
            dims = dims[1:]
        if len(spec.dims) != len(dims) or any(not _fits(own, due) for own, due in zip(spec.dims, dims, strict=True)):
            shown = [-1 if dim is None else dim for dim in dims]
            yield f"{what} '{spec.name}' has dims {list(spec.dims)}, the graph has {shown}"


def _fits(configured: int, due: int | None) -> bool:
    """An open dimension of the graph takes any; one that it fixes must be the same in both."""
    return due is None or configured == due


def _torchscript_faults(config: Config, file: Path) -> Iterator[str]:
    module = torch.jit.load(str(file), map_location="cpu")
    arguments = len(list(module.forward.schema.arguments)) - 1  # the first is the module itself
    returned = module.forward.schema.returns[0].type
    outputs = len(returned.elements()) if isinstance(returned, torch.TupleType) else 1
    for what, specs, count in (("input", config.inputs, arguments), ("output", config.outputs, outputs)):
        for place, spec in enumerate(specs):
            name, mark, index = spec.name.rpartition("__")
            if not (mark and name and index == str(place)):
                yield f"{what} '{spec.name}' stands at {place}, expected a name that ends in '__{place}': others go by order"
            if spec.datatype == "BYTES":
                yield f"{what} '{spec.name}' is BYTES, which this backend takes only in lists without batching"
        if len(specs) != count:
            yield f"{len(specs)} {what}s, the module has {count}"
