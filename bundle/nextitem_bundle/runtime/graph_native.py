"""A native bundle's graph that reads a request, answered without Triton: by the parity gate and by clients in-process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .graph_onnx import open_session
from .request import Array, RequestError, check_dtype
from .signature import Signature

_OPTIONS = {"session_length": np.int32, "top_k": np.int32, "exclude_seen": np.bool_}
_FATAL_ONLY = 4
#: What ONNX Runtime says of a node that failed; one whose name is a sentence is a guard of the graph.
_FAILED = re.compile(r"Name:'((?:(?!Name:').)* (?:(?!Name:').)*)' Status Message: (.*)", re.DOTALL)
_CAME = re.compile(r"idx=-?\d+|Input shape:.*")


class NativeStep:
    """Runs `model.onnx` on tensors as they come over the wire, each of them optional.

    Here the step checks types and the number of dimensions, as Triton does by the configuration; all else the graph checks.
    session: ONNX Runtime's own. As in Triton, a string ends at a NUL, and what is not UTF-8 is no item's id.
    """

    batched = False

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._signature = Signature.from_json(settings["signature"])
        # The graph's guards are for the caller, not for this process's standard error.
        self.session: Any = open_session(folder, settings["threads"], severity=_FATAL_ONLY)
        self.inputs = (*(feature.name for feature in self._signature.features), *self._signature.options)
        self.outputs = tuple(node.name for node in self.session.get_outputs())
        self._datatypes = {feature.name: feature.datatype for feature in self._signature.features}
        item_type = self._datatypes[self._signature.item_column]
        self._datatypes |= {"exclude_item_ids": item_type, "allow_item_ids": item_type}

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The graph's outputs. Raises RequestError with the sentence of the guard that failed."""
        sent = {name: self._read(name, values) for name, values in tensors.items() if name in self.inputs}
        try:
            values = self.session.run(None, sent)
        except Exception as error:  # ONNX Runtime's classes differ by version
            found = _FAILED.search(str(error))
            if found is None:
                raise
            came = _CAME.search(found[2])
            raise RequestError(f"{found[1]} ({came[0]})" if came else found[1]) from None
        return dict(zip(self.outputs, values, strict=True))

    def _read(self, name: str, values: Array) -> Array:
        if name in _OPTIONS:
            if values.dtype != _OPTIONS[name]:
                raise RequestError(f"input '{name}' has type {values.dtype}, expected {np.dtype(_OPTIONS[name])}")
        else:
            check_dtype(name, values, self._datatypes[name])
        if values.ndim != 2 or (name in _OPTIONS and values.shape[1] != 1):
            due = "[sessions, 1]" if name in _OPTIONS else "two dimensions"
            raise RequestError(f"input '{name}' has shape {list(values.shape)}, expected {due}")
        return _text(values) if values.dtype == np.object_ else values


def _text(values: Array) -> Array:
    """Strings as ONNX Runtime takes them from Python, bytes or str, as str."""
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values.ravel()]
    read: Array = np.empty(len(texts), dtype=np.object_)
    read[:] = [text.partition("\0")[0].encode("utf-8", "replace").decode() for text in texts]
    return read.reshape(values.shape)


def open_step(folder: Path, settings: Mapping[str, Any]) -> NativeStep:
    """Open the step of this folder."""
    return NativeStep(folder, settings)
