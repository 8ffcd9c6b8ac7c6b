"""A session model in ONNX as it came, run by ONNX Runtime: a module of torch around it that takes the features by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from .._errors import UnsupportedModel

#: The types that features may be read in, and the results given in, by ONNX Runtime's names.
_READ = {"tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(float)": "float32", "tensor(double)": "float64"}
_GIVEN = ("tensor(float)", "tensor(double)", "tensor(float16)")
_NO_MESSAGES_BELOW_ERRORS = 3


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of the graph: the workflow's output `feature` [B, T], read as `dtype`. width: its T, None for any."""

    name: str
    feature: str
    dtype: str
    width: int | None


class OnnxFile:
    """An ONNX model with its own session of ONNX Runtime.

    source: the file or the model itself. inputs: the workflow's output for each input that has another name. output: the one
    that is meant where there are several. Raises UnsupportedModel for what cannot be a session model.
    """

    def __init__(self, source: Path | onnx.ModelProto, inputs: Mapping[str, str], output: str | None) -> None:
        self.name = source.name if isinstance(source, Path) else "ModelProto"
        self._source = source
        self._session = self._open()
        self.inputs = tuple(self._input(value, inputs) for value in self._session.get_inputs())
        self.output = self._output(output)
        unknown = set(inputs) - {each.name for each in self.inputs}
        if unknown:
            raise UnsupportedModel(
                f"inputs names {', '.join(sorted(unknown))}, and the inputs of {self.name} are "
                f"{', '.join(each.name for each in self.inputs)}: name these"
            )

    def __deepcopy__(self, memo: Any) -> OnnxFile:
        return self  # nothing changes it, and a session of ONNX Runtime has no copy

    def read(self) -> onnx.ModelProto:
        """The model with all of its weights; the caller may change it."""
        if isinstance(self._source, Path):
            return onnx.load(str(self._source))
        copied = onnx.ModelProto()
        copied.CopyFrom(self._source)
        return copied

    def run(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """What it gives for features [B, T], float32. Raises UnsupportedModel where its inputs have another width."""
        feeds = {each.name: features[each.feature].astype(each.dtype) for each in self.inputs}
        for each in self.inputs:
            window = feeds[each.name].shape[1]
            if each.width not in (None, window):
                raise UnsupportedModel(
                    f"the input '{each.name}' of {self.name} is {each.width} wide, and the window is {window}: export the "
                    f"model with a free second dimension or with {window}, or give export_bundle the window {each.width}"
                )
        return np.asarray(self._session.run([self.output], feeds)[0], dtype=np.float32)

    def _open(self) -> Any:
        runtime: Any = onnxruntime
        options = runtime.SessionOptions()
        options.log_severity_level = _NO_MESSAGES_BELOW_ERRORS
        if isinstance(self._source, Path):
            what: str | bytes = str(self._source)
        else:
            if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in self._source.graph.initializer):
                raise UnsupportedModel(
                    "the ModelProto has weights in other files, which it does not say the folder of: give the path of its "
                    "file, or load it with onnx.load(path)"
                )
            what = self._source.SerializeToString()
        try:
            return runtime.InferenceSession(what, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnsupportedModel(f"ONNX Runtime cannot load {self.name}: {type(error).__name__}: {error}") from error

    def _input(self, value: Any, inputs: Mapping[str, str]) -> Input:
        shape = list(value.shape)
        if value.type not in _READ:
            raise UnsupportedModel(
                f"the input '{value.name}' of {self.name} is {value.type}, expected {', '.join(_READ)}: export the model with "
                "inputs of one of these types"
            )
        if len(shape) != 2 or isinstance(shape[0], int):
            raise UnsupportedModel(
                f"the input '{value.name}' of {self.name} has the shape {shape}, expected [B, T] with a free B: export the "
                "model with a dynamic first dimension"
            )
        feature = inputs.get(value.name, value.name.removesuffix(":0"))  # as graphs of TensorFlow name them
        width = shape[1] if isinstance(shape[1], int) else None
        return Input(value.name, feature, _READ[value.type], width)

    def _output(self, asked: str | None) -> str:
        outputs = {value.name: value.type for value in self._session.get_outputs()}
        if asked is not None and asked not in outputs:
            raise UnsupportedModel(
                f"{self.name} has no output '{asked}', it has {', '.join(outputs)}: name one of these"
            )
        if asked is None and len(outputs) != 1:
            raise UnsupportedModel(
                f"{self.name} has {len(outputs)} outputs ({', '.join(outputs)}): say which has the scores [B, V] or the query "
                "[B, D], ModelFile(…, output='…')"
            )
        name = asked or next(iter(outputs))
        if outputs[name] not in _GIVEN:
            raise UnsupportedModel(
                f"the output '{name}' of {self.name} is {outputs[name]}, expected floats, the scores [B, V] or the query [B, D]"
            )
        return name


class OnnxScores(nn.Module):
    """Gives the scores of an ONNX file. No exporter of torch can trace it: the file's nodes are merged instead."""

    def __init__(self, file: OnnxFile) -> None:
        super().__init__()
        self.file = file
        self.feature_names = tuple(each.feature for each in file.inputs)

    def asked(self, features: Mapping[str, Tensor]) -> Tensor:
        """What the file gives for features [B, T], float32."""
        return torch.from_numpy(self.file.run({name: values.numpy() for name, values in features.items()}))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """float32 [B, V]."""
        return self.asked(features)


class OnnxQuery(OnnxScores):
    """The same for a file that gives queries, with the table that they are compared with, float32 [V, D]."""

    def __init__(self, file: OnnxFile, table: Tensor) -> None:
        super().__init__(file)
        self.table = nn.Parameter(table, requires_grad=False)

    def query(self, features: Mapping[str, Tensor]) -> Tensor:
        """float32 [B, D]."""
        return self.asked(features)

    def item_table(self) -> Tensor:
        """float32 [V, D]."""
        return self.table
