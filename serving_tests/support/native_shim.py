"""Serves a native bundle where Triton's own backends are not: the same graphs, the same config.pbtxt but for `backend`."""

from __future__ import annotations

import shutil
from pathlib import Path

from serving_tests.support.bundles import change, copied

#: What stands in for the backend onnxruntime: one run a request, no line of ours but what Python's ONNX Runtime needs.
_MODEL_PY = '''
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.outputs = [node.name for node in self.session.get_outputs()]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        tensors = {tensor.name(): read(tensor.as_numpy()) for tensor in request.inputs()}
        try:
            values = self.session.run(None, tensors)
        except Exception as error:
            return utils.InferenceResponse(error=utils.TritonError(f"onnx runtime error: {error}"))
        return utils.InferenceResponse([utils.Tensor(*output) for output in zip(self.outputs, values)])


def read(values):
    """Python's ONNX Runtime takes str, where the backend hands on bytes."""
    if values.dtype != object:
        return values
    return np.array([*(v.decode("utf-8", "replace") for v in values.ravel()), None], dtype=object)[:-1].reshape(values.shape)
'''


def as_python_backend(bundle: Path, repository: Path) -> Path:
    """Copy a native bundle into a repository that the embedded server can serve; returns where it is."""
    copy = copied(bundle, repository)
    for model in repository.glob(f"{bundle.name}*"):
        for graph in model.glob("*/model.onnx"):
            (graph.parent / "model.py").write_text(_MODEL_PY)
            shutil.rmtree(graph.parent / "nextitem_runtime")  # nothing of it may run
        if list(model.glob("*/model.onnx")):
            change(model / "config.pbtxt", 'backend: "onnxruntime"', 'backend: "python"')
    return copy
