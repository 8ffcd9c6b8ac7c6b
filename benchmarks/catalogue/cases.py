"""A catalogue of one size in each of the ways of serving it that are compared: our graphs, and what one would write instead."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper, save

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.step import open_step
from nextitem_export.retrieval.ann import build_index
from nextitem_export.retrieval.choice import ScoringChoice, true_best
from nextitem_export.retrieval.formats import write_retrieval
from nextitem_export.retrieval.module import ModelFeature, Retrieval
from nextitem_export.retrieval.tensors import CODES

K = 100
RECALL_AT = 20
SCORINGS = {"exact": "exact", "int8": "int8-rerank", "ann": "ann"}
FEATURES = (ModelFeature("item", "feature__0", "int64"), ModelFeature("query", "feature__1", "float32"))


class Given(torch.nn.Module):
    """A session model that costs nothing: its query comes as a feature."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.items = torch.nn.Parameter(torch.from_numpy(table), requires_grad=False)

    def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """The feature itself."""
        return features["query"]

    def item_table(self) -> torch.Tensor:
        """float32 [V, D]."""
        return self.items


class Catalogue:
    """A table float32 [V, D], its first three rows special codes, and queries [S, D]: odd ones calibrate, even ones judge."""

    def __init__(self, table: np.ndarray, queries: np.ndarray, folder: Path) -> None:
        self.table, self.folder = table, folder
        self.calibrating, self.judged = queries[1::2], queries[::2]
        self.build_s: dict[str, float] = {}
        self.steps: dict[str, Any] = {}

    def write(self, name: str) -> None:
        """Export one of SCORINGS, with Diginetica's sessions to calibrate on, and open it."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        ItemIndex.of(np.arange(len(self.table) - 3)).save(folder)
        if name == "ann" and not (folder / "index.faiss").exists():
            began = time.perf_counter()
            build_index(self.table, folder / "index.faiss")
            (folder / "built.json").write_text(json.dumps(time.perf_counter() - began), encoding="utf-8")
        sample = (torch.full((len(self.calibrating), 1), 3), torch.from_numpy(self.calibrating))
        retrieval = Retrieval(Given(self.table), FEATURES, "item", np.full(len(self.table), -1, np.float32), K)
        example = tuple(values[:2] for values in sample)
        choice = ScoringChoice(SCORINGS[name])
        began = time.perf_counter()
        write_retrieval("onnx", retrieval, FEATURES, example, folder, threads=1, scoring=choice, sample=sample)
        self.build_s[name] = time.perf_counter() - began
        if name == "ann":
            self.build_s[name] += json.loads((folder / "built.json").read_text(encoding="utf-8"))
        self.steps[name] = open_step(folder)

    def close(self) -> None:
        """Let go of the table and of every step, whose memory other processes need."""
        self.steps.clear()
        del self.table

    def recall(self, name: str, true: np.ndarray) -> float:
        """The share of the true best items that a step gives to the sessions that it was not calibrated on."""
        codes = [self.steps[name].run(request(query[None]))[CODES][0, :RECALL_AT] for query in self.judged]
        return float(np.mean([len(np.intersect1d(*pair)) for pair in zip(codes, true, strict=True)]) / RECALL_AT)

    def true(self) -> np.ndarray:
        """int64 [S, RECALL_AT]."""
        return true_best(self.judged, self.table, RECALL_AT)

    def ways(self, batch: int) -> dict[str, list[Callable[[], Any]]]:
        """Every way to answer a batch of sessions, each with eight batches in turn."""
        batches = [self.judged[start : start + batch] for start in range(0, 8 * batch, batch)]
        batches = [queries for queries in batches if len(queries) == batch] or [self.judged[:batch]]
        plain, tensor = self._plain_session(), torch.from_numpy(self.table)
        flat = self.table.ravel()

        def by_torch(queries: torch.Tensor) -> Any:
            with torch.inference_mode():
                return torch.topk(queries @ tensor.T, K)

        found: dict[str, list[Callable[[], Any]]] = {
            name: [partial(step.run, request(queries)) for queries in batches] for name, step in self.steps.items()
        }
        found["ort"] = [partial(plain.run, None, {"query": queries}) for queries in batches]
        found["torch"] = [partial(by_torch, torch.from_numpy(queries)) for queries in batches]
        if batch == 1:
            found["read"] = [lambda: float(np.dot(flat, flat))]
        return found

    def _plain_session(self) -> Any:
        """Gemm and TopK over the same npy file, as one would write it by hand: no filters, no special codes."""
        folder = self.folder / "exact"
        file = folder / "table_0.npy"
        table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=self.table.shape)
        if file.exists():
            table.data_location = TensorProto.EXTERNAL
            offset = file.stat().st_size - np.load(file, mmap_mode="r").nbytes
            for key, value in (("location", file.name), ("offset", offset), ("length", self.table.nbytes)):
                table.external_data.add(key=key, value=str(value))
        else:
            table = numpy_helper.from_array(self.table, "table")
        graph = helper.make_graph(
            [
                helper.make_node("Gemm", ["query", "table"], ["scores"], transB=1),
                helper.make_node("TopK", ["scores", "k"], ["best", "codes"]),
            ],
            "plain",
            [helper.make_tensor_value_info("query", TensorProto.FLOAT, ["B", self.table.shape[1]])],
            [
                helper.make_tensor_value_info("best", TensorProto.FLOAT, ["B", K]),
                helper.make_tensor_value_info("codes", TensorProto.INT64, ["B", K]),
            ],
            [table, numpy_helper.from_array(np.array([K]), "k")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        save(model, str(folder / "plain.onnx"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(str(folder / "plain.onnx"), options, providers=["CPUExecutionProvider"])


def request(queries: np.ndarray) -> dict[str, np.ndarray]:
    """What the features step gives for these queries, float32 [B, D]: filters as narrow as they come."""
    none = np.zeros((len(queries), 64), dtype=np.int64)
    items = np.full((len(queries), 1), 3)
    return {"feature__0": items, "feature__1": queries, "excluded__2": none, "allowed__3": none}
