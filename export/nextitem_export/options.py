"""What can be chosen at export, each default in one place."""

from __future__ import annotations

import dataclasses

from ._errors import ExportError

LAYOUTS = ("ensemble", "fused")
RUNTIMES = ("python",)
FEATURES = ("compiled", "nvtabular")


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How a bundle is made.

    layout: `ensemble`, three steps behind one name; `fused`, one model, fewest hops.
    format: `onnx`, `onnx_dynamo` (the same by torch.export) or `torchscript`, how the session model is written.
    runtime: `python`, Triton's Python backend. features: `compiled`, the workflow as a graph; `nvtabular`,
    the workflow itself, slow and pickled.
    top_k, max_top_k: items in an answer by default and at most.
    max_sessions: sessions in one request at most, and the ranker's batch.
    max_interactions: interactions of one session in a request at most; the model reads the newest of them.
    max_id_bytes: bytes of UTF-8 in one string at most.
    threads: threads of the ranker's graph.
    keep_workflow_window: serve a workflow whose ListSlice keeps the oldest interactions as it is.
    replace: put the bundle in place of one of the same name, also where the steps' configuration differs.
    """

    layout: str = "ensemble"
    format: str = "onnx"
    runtime: str = "python"
    features: str = "compiled"
    top_k: int = 20
    max_top_k: int = 100
    max_sessions: int = 64
    max_interactions: int = 10_000
    max_id_bytes: int = 1_024
    threads: int = 1
    keep_workflow_window: bool = False
    replace: bool = False

    def __post_init__(self) -> None:
        from .graphs.formats import FORMATS

        choices = {"layout": LAYOUTS, "runtime": RUNTIMES, "features": FEATURES, "format": FORMATS}
        for field, known in choices.items():
            value = getattr(self, field)
            if value not in known:
                raise ExportError(f"unknown {field} '{value}', known are {', '.join(known)}")
        for field in ("top_k", "max_top_k", "max_sessions", "max_interactions", "max_id_bytes", "threads"):
            value = getattr(self, field)
            if value < 1:
                raise ExportError(f"{field} is {value}, expected 1 or more")
        if self.top_k > self.max_top_k:
            raise ExportError(
                f"top_k is {self.top_k}, above max_top_k {self.max_top_k}: raise max_top_k or lower top_k"
            )
