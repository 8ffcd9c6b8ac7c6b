"""FastAPI in front of the model, as a shop's own engineers write it: one session in a request, JSON both ways, one process.

    python -m benchmarks.serving.fastapi_app torch|onnx FOLDER PORT

uvicorn with uvloop and httptools and without an access log. The body is validated by pydantic straight from its bytes, the
answer is written by pydantic's own serialiser; FastAPI's slower ways there and back are left out. The model runs inside the
event loop, or with `--thread` on one thread beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from nextitem_bundle.runtime.features import TOP_K
from nextitem_bundle.runtime.features.program import Program
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step

#: Raw columns [1, T] to numbers [1, k] of items in the vocabulary, from 0, and their scores.
Rank = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
#: Features by tensor to the same.
Ranker = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
Encode = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Recommender:
    """Raw columns of one session to item ids and scores."""

    def __init__(self, folder: Path, kind: str, bundle: Path | None = None) -> None:
        peer: dict[str, Any] = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
        self._items = np.array(peer["items"], dtype=object)
        self._window = peer["window"]
        encode, own = {"torch": (_numpy_features, _torch), "onnx": (_onnx_features, _onnx)}[kind]
        self._encode = encode(folder)
        self._rank = _of_bundle(bundle, peer["tensors"], peer["k"]) if bundle else own(folder, peer["tensors"])

    def recommend(
        self, item_id: list[str], category: list[str], price: list[float], timestamp: list[int]
    ) -> dict[str, Any]:
        """The model reads the newest `window` interactions only; most sessions come in the order of time."""
        first = -self._window if timestamp == sorted(timestamp) else 0
        tensors = {
            "item_id": np.array([item_id[first:]], dtype=object),
            "category": np.array([category[first:]], dtype=object),
            "price": np.array([price[first:]], dtype=np.float32),
            "timestamp": np.array([timestamp[first:]], dtype=np.int64),
        }
        tensors["session_length"] = np.array([[tensors["timestamp"].shape[1]]])
        numbers, scores = self._rank(self._encode(tensors))
        return {"item_ids": self._items[numbers[0]].tolist(), "scores": scores[0].tolist(), "status": "ok"}


def _numpy_features(folder: Path) -> Encode:
    return Program.load(folder / "program").run


def _onnx_features(folder: Path) -> Encode:
    session = _session(folder / "features.onnx")
    inputs, outputs = ([node.name for node in nodes] for nodes in (session.get_inputs(), session.get_outputs()))

    def encode(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(None, {name: tensors[name] for name in inputs}), strict=True))

    return encode


def _torch(folder: Path, names: list[str]) -> Ranker:
    import torch

    torch.set_num_threads(1)
    module = torch.jit.load(str(folder / "model.pt")).eval()

    @torch.inference_mode()
    def rank(encoded: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        numbers, scores = module(*(torch.from_numpy(encoded[name]) for name in names))
        return numbers.numpy(), scores.numpy()

    return rank


def _onnx(folder: Path, names: list[str]) -> Ranker:
    session = _session(folder / "model.onnx")
    return lambda encoded: session.run(["numbers", "scores"], {name: encoded[name] for name in names})


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _of_bundle(folder: Path, names: list[str], k: int) -> Ranker:
    """The retrieval step that our own bundle has, with its filters, in the version folder of its step."""
    step = open_step(folder)
    model_features, (excluded, allowed) = step.inputs[: len(names)], step.inputs[len(names) :]
    none, wanted = np.zeros((1, 64), dtype=np.int64), np.array([k])

    def rank(encoded: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        given = {tensor: encoded[name] for tensor, name in zip(model_features, names, strict=True)}
        codes, scores, _ = step.run({**given, excluded: none, allowed: none, TOP_K: wanted}).values()
        return codes[:, :k] - FIRST_ITEM, scores[:, :k]

    return rank


def application(recommender: Recommender, *, thread: bool) -> Any:
    """The FastAPI application; `thread` runs the model on one thread beside the event loop."""
    import asyncio

    from fastapi import FastAPI, Request, Response
    from pydantic import BaseModel, ValidationError
    from pydantic_core import to_json

    class Session(BaseModel):
        item_id: list[str]
        category: list[str]
        price: list[float]
        timestamp: list[int]

    app = FastAPI(openapi_url=None)
    worker = ThreadPoolExecutor(1)

    def answer(session: Session) -> bytes:
        return to_json(recommender.recommend(session.item_id, session.category, session.price, session.timestamp))

    async def recommend(request: Request) -> Response:
        try:
            session = Session.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), 422, media_type="application/json")
        if thread:
            body = await asyncio.get_running_loop().run_in_executor(worker, answer, session)
        else:
            body = answer(session)
        return Response(body, media_type="application/json")

    # What the annotations name is local to this function, where FastAPI does not look.
    recommend.__annotations__ = {"request": Request, "return": Response}
    app.post("/recommend", response_model=None)(recommend)
    return app


def main() -> None:
    """Serve until a signal."""
    import uvicorn

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("kind", choices=["torch", "onnx"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--thread", action="store_true", help="run the model on a thread beside the event loop")
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="rank with the bundle's retrieval step in this version folder"
    )
    given = parser.parse_args()
    recommender = Recommender(given.folder, given.kind, given.bundle)
    for length in range(1, 25):  # TorchScript compiles itself in the first calls
        recommender.recommend(["none"] * length, ["none"] * length, [1.0] * length, list(range(length)))
    app = application(recommender, thread=given.thread)
    uvicorn.run(app, port=given.port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
