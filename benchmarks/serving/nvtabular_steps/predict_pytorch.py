"""The second step of the peer `nvtabular`: TorchScript, as Merlin Systems' PredictPyTorch serves it, and raw ids for codes."""

import json
from pathlib import Path

import numpy as np
import torch
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]


class TritonPythonModel:
    """Features [1, window] to raw ids and scores [1, k]."""

    def initialize(self, args):
        """Load the model and call it until it has compiled itself."""
        folder = Path(args["model_repository"]) / args["model_version"]
        peer = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
        torch.set_num_threads(1)
        self._names, self._items = peer["tensors"], np.array([item.encode() for item in peer["items"]], dtype=object)
        self._module = torch.jit.load(str(folder / "model.pt")).eval()
        example = [torch.ones((1, peer["window"]), dtype=getattr(torch, dtype)) for dtype in peer["dtypes"]]
        for _ in range(10):
            self._module(*example)

    def execute(self, requests):
        """One request after the other, as the first step gives them."""
        return [pb_utils.InferenceResponse(self._rank(request)) for request in requests]

    @torch.inference_mode()
    def _rank(self, request):
        arrays = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._names]
        numbers, scores = self._module(*(torch.from_numpy(np.array(array)) for array in arrays))
        return [
            pb_utils.Tensor("item_ids", self._items[numbers.numpy()]),
            pb_utils.Tensor("scores", scores.numpy()),
            pb_utils.Tensor("status", np.array([[b"ok"]], dtype=object)),
        ]
