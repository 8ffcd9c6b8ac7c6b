"""The first step of the peer `nvtabular`: the fitted Workflow on a DataFrame, as Merlin Systems' TransformWorkflow runs it.

Categorify is replaced by NVTabular's own C++ operator, as Merlin Systems does at serving: the transform takes less than half as
long with it. (NVTabular 23.8 looks for it in `merlin.dag.base_operator`, which merlin-core 23.8 calls `merlin.dag.operator`.)
"""

import json
import sys
from pathlib import Path
from typing import Any

import merlin.dag.operator
import numpy as np
import nvtabular
import pandas as pd
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

sys.modules["merlin.dag.base_operator"] = merlin.dag.base_operator = merlin.dag.operator  # pyright: ignore[reportAttributeAccessIssue]


class TritonPythonModel:
    """Raw columns [1, T] to features [1, window], padded on the right with 0."""

    def initialize(self, args):
        """Load the workflow."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self._peer = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
        self._workflow = nvtabular.Workflow.load(str(folder / "workflow"))
        for node in _nodes(self._workflow.output_node):
            if isinstance(node.op, nvtabular.ops.Categorify):
                node.op = CompiledCategorify(node.op)

    def execute(self, requests):
        """One request after the other: a Workflow knows no requests, only rows."""
        return [pb_utils.InferenceResponse(self._encode(request)) for request in requests]

    def _encode(self, request):
        raw = {
            name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()[0] for name in self._peer["raw_dtypes"]
        }
        table = self._workflow.transform(self._frame(raw))
        outputs = []
        for tensor, name, dtype in zip(*(self._peer[key] for key in ("tensors", "features", "dtypes"))):  # noqa: B905
            padded = np.zeros((1, self._peer["window"]), dtype=dtype)
            values = table[name].iloc[0]
            padded[0, : len(values)] = values
            outputs.append(pb_utils.Tensor(tensor, padded))
        return outputs

    def _frame(self, raw):
        rows = len(next(iter(raw.values())))
        columns = {
            self._peer["session_column"]: np.zeros(rows, np.int64),
            self._peer["tie_breaker_column"]: np.arange(rows),
        }
        for name, dtype in self._peer["raw_dtypes"].items():
            values = raw[name]
            if dtype == "string":
                values = np.array([value.decode() for value in values], dtype=object)
            elif dtype == "datetime":
                values = values.view("datetime64[ns]")
            columns[name] = values
        return pd.DataFrame(columns)


class CompiledCategorify:
    """A fitted Categorify whose transform is the C++ operator's, which takes and gives arrays."""

    def __init__(self, fitted):
        from nvtabular_cpp.inference import CategorifyTransform

        self._fitted, self._compiled = fitted, CategorifyTransform(fitted)

    def __getattr__(self, name):
        return getattr(self._fitted, name)

    def transform(self, selector, frame):
        """Codes in the place of the selected columns."""
        codes = self._compiled.transform(selector, {name: frame[name].to_numpy() for name in selector.names})
        return pd.DataFrame(codes)


def _nodes(node: Any) -> list[Any]:
    found = [node]
    for current in found:
        found += [p for p in current.parents_with_dependencies if all(p is not other for other in found)]
    return found
