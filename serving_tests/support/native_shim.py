"""Serves a native bundle where Triton's own backends are not: its own files, and config.pbtxt but for retrieval's `backend`.

The steps around the retrieval step cannot import ONNX Runtime, which NVIDIA's images have not for Python.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from serving_tests.support.bundles import change, copied

#: What stands in for a backend of Triton's own: one run a request, no line of ours but what it takes to call the library.
_MODEL_PY = """
import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        self.outputs = [output["name"] for output in json.loads(args["model_config"])["output"]]
        self.run = opened(folder, self.outputs)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            values = self.run({tensor.name(): tensor.as_numpy() for tensor in request.inputs()})
        except Exception as error:
            return utils.InferenceResponse(error=utils.TritonError(f"backend error: {error}"))
        return utils.InferenceResponse([utils.Tensor(*output) for output in zip(self.outputs, values)])
"""
_OPENED = {
    "onnxruntime": """

def opened(folder, outputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    return lambda tensors: session.run(outputs, tensors)
""",
    "pytorch": '''

def opened(folder, outputs):
    """By the numbers at the ends of the names, as the backend has it."""
    import torch

    torch.set_num_threads(1)
    module = torch.jit.load(str(folder / "model.pt"), map_location="cpu").eval()

    def run(tensors):
        ordered = sorted(tensors, key=lambda name: int(name.rpartition("__")[2]))
        with torch.inference_mode():
            values = module(*(torch.from_numpy(np.array(tensors[name])) for name in ordered))
        return [values[int(name.rpartition("__")[2])].numpy() for name in outputs]

    return run
''',
}
_FILES = {"onnxruntime": "model.onnx", "pytorch": "model.pt"}


def as_python_backend(bundle: Path, repository: Path, backend: str) -> Path:
    """Copy a native bundle into a repository that the embedded server can serve; returns where it is.

    backend: the one that the retrieval step is for.
    """
    copy = copied(bundle, repository)
    retrieval = repository / f"{bundle.name}_retrieval"
    change(retrieval / "config.pbtxt", f'backend: "{backend}"', 'backend: "python"')
    for version in [file.parent for file in retrieval.glob(f"*/{_FILES[backend]}")]:
        (version / "model.py").write_text(_MODEL_PY + _OPENED[backend])
        shutil.rmtree(version / "nextitem_runtime")  # nothing of it may run
    for step in ("features", "items"):
        for file in repository.glob(f"{bundle.name}_{step}/*/model.py"):
            change(file, "import sys\n", 'import sys\n\nsys.modules["onnxruntime"] = None  # no import of it works\n')
    return copy
