"""What can be chosen at export, each default in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ._errors import ExportError

#: Versions that stay in the repository after one is activated.
KEEP_VERSIONS = 2

LAYOUTS = ("ensemble", "fused")
RUNTIMES = ("python", "native")
FEATURES = ("compiled", "nvtabular")
#: Where the item feature has its codes from: a Categorify of the workflow, or the raw ids themselves.
ITEM_CODES = ("fitted", "as-is")
#: What runs the retrieval step, by the name that Triton has for it; `none` is the CPU.
ACCELERATORS = ("none", "cuda", "tensorrt")
_POSITIVE = (
    "top_k", "max_top_k", "max_sessions", "max_interactions", "max_id_bytes", "threads", "preferred_batch_size",
)  # fmt: skip
_NOT_NEGATIVE = ("instances", "max_queue_delay_us", "max_queue_size", "max_queue_ms", "queue_timeout_ms")


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of a workflow a session model is asked with; None for what the workflow itself says.

    item_column: the raw column of item ids. item_feature: the output with their codes. features: the outputs that the model
    reads, in order. window: T, the interactions that it reads at most. tie_breaker_column: a raw column that only makes the
    sort by time unique and is never sent. raw_dtypes: the types of raw columns that pandas had to change.
    """

    item_column: str = "item_id"
    item_feature: str | None = None
    features: Sequence[str] | None = None
    window: int | None = None
    tie_breaker_column: str | None = None
    raw_dtypes: Mapping[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How a bundle is made.

    layout: `ensemble`, three steps behind one name; `fused`, one model, fewest hops.
    format: `onnx`, `onnx_dynamo` (the same by torch.export) or `torchscript`, how the session model is written.
    runtime: what runs the session model: `python`, Triton's Python backend; `native`, its own backends, which NVIDIA's images
    have. Features and items run in the Python backend in either case.
    features: `compiled`, the workflow as a graph; `nvtabular`, the workflow itself, slow and pickled.
    accelerator: `cuda` or `tensorrt` for a native bundle whose retrieval step runs on a GPU.
    scoring: `exact`; `int8-rerank`, a scan of int8 whose best are scored exactly; `ann`, a faiss index, likewise.
    min_recall: the least recall@20 of an approximate scoring on the sample's sessions; 0 for the scoring's own bound.
    top_k, max_top_k: items in an answer by default and at most.
    max_sessions: sessions in one request at most, and the retrieval step's batch.
    max_interactions: interactions of one session in a request at most; the model reads the newest of them.
    max_id_bytes: bytes of UTF-8 in one string at most.
    threads: threads of retrieval's graph. instances: processes of the model that ranks; 0 for the layout's own number, see
    `own_instances`.
    preferred_batch_size: sessions of several requests that are answered together at most.
    max_queue_delay_us: microseconds that a request waits for others to join it.
    max_queue_size, max_queue_ms: requests that are taken at most of those that wait, and what they may take to be answered by
    the latest measurements; further ones are refused. 0 is no limit. Of the layout fused alone.
    queue_timeout_ms: milliseconds after which a request that still waits is refused; 0 is no limit, and the only value
    that costs nothing: any other makes Triton 24.10 miss requests for up to 500 ms.
    availability: a JSON file of items that are not to be recommended, or of those that alone are; see the format of a bundle.
    item_codes: `fitted`, a Categorify of the workflow gives items their codes; `as-is`, raw ids are integers that the model has
    rows for, and what is no row is unknown.
    item_padding: the value of the item feature that the model was trained on where a session has no interaction; 0 where it is
    not given, which `as-is` needs. It is no item.
    keep_workflow_window: serve a workflow whose ListSlice keeps the oldest interactions as it is.
    replace: put the bundle in place of one of the same name, also where the steps' configuration differs.
    """

    layout: str = "ensemble"
    format: str = "onnx"
    runtime: str = "python"
    features: str = "compiled"
    accelerator: str = "none"
    scoring: str = "exact"
    min_recall: float = 0.0
    top_k: int = 20
    max_top_k: int = 100
    max_sessions: int = 64
    max_interactions: int = 10_000
    max_id_bytes: int = 1_024
    threads: int = 1
    instances: int = 0
    preferred_batch_size: int = 32
    max_queue_delay_us: int = 0
    max_queue_size: int = 256
    max_queue_ms: int = 20
    queue_timeout_ms: int = 0
    availability: str | None = None
    item_codes: str = "fitted"
    item_padding: int | None = None
    keep_workflow_window: bool = False
    replace: bool = False

    @property
    def own_instances(self) -> int:
        """Processes where no number is given.

        Two of `fused`: one computes while Triton carries the other's requests and answers, which takes
        half as long as answering them.
        """
        return 2 if self.layout == "fused" else 1

    def __post_init__(self) -> None:
        from .retrieval.choice import SCORINGS
        from .retrieval.formats import FORMATS

        choices = {
            "layout": LAYOUTS,
            "runtime": RUNTIMES,
            "features": FEATURES,
            "accelerator": ACCELERATORS,
            "format": FORMATS,
            "scoring": SCORINGS,
            "item_codes": ITEM_CODES,
        }
        for field, known in choices.items():
            value = getattr(self, field)
            if value not in known:
                raise ExportError(f"unknown {field} '{value}', known are {', '.join(known)}")
        if self.item_codes == "as-is" and self.item_padding is None:
            raise ExportError(
                "item_codes 'as-is' needs item_padding, the value that the model was trained on where a session has no "
                "interaction and that is no item: 0 where its first row is padding, else a value that no item has, "
                "such as -1 or "
                "the number of items"
            )
        if self.runtime == "native" and self.scoring == "ann":
            raise ExportError(
                "scoring 'ann' asks faiss, which Triton's own backends have not: give "
                "ExportOptions(runtime='python'), ExportOptions(scoring='exact') or ExportOptions(scoring='int8-rerank')"
            )
        if self.runtime == "native" and self.layout == "fused":
            raise ExportError(
                "layout 'fused' is one model of Triton's Python backend, and runtime 'native' runs the session model on "
                "Triton's own backends: give ExportOptions(layout='ensemble'), or ExportOptions(runtime='python')"
            )
        if self.instances == 0:
            object.__setattr__(self, "instances", self.own_instances)
        self._check_accelerator()
        for fields, least in ((_POSITIVE, 1), (_NOT_NEGATIVE, 0)):
            for field in fields:
                value = getattr(self, field)
                if value < least:
                    raise ExportError(f"{field} is {value}, expected {least} or more")
        if not 0 <= self.min_recall <= 1:
            raise ExportError(f"min_recall is {self.min_recall}, expected a share from 0 to 1")
        if self.top_k > self.max_top_k:
            raise ExportError(
                f"top_k is {self.top_k}, above max_top_k {self.max_top_k}: raise max_top_k or lower top_k"
            )

    def _check_accelerator(self) -> None:
        if self.accelerator == "none":
            return
        if self.runtime != "native":
            raise ExportError(
                f"accelerator '{self.accelerator}' is for retrieval with ExportOptions(runtime='native'): Triton's Python "
                "backend runs on the CPU"
            )
        if self.accelerator == "tensorrt" and self.format == "torchscript":
            raise ExportError(
                "accelerator 'tensorrt' is a part of ONNX Runtime, which TorchScript has not: give "
                "ExportOptions(format='onnx'), or ExportOptions(accelerator='cuda')"
            )
        if self.scoring != "exact":
            raise ExportError(
                f"scoring '{self.scoring}' with accelerator '{self.accelerator}' would look at the catalogue on the CPU: give "
                "ExportOptions(scoring='exact')"
            )
