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
_NOT_NEGATIVE = ("instances", "max_queue_delay_us", "max_queue_size", "max_queue_ms", "queue_timeout_ms", "keep_proof")


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

    Args:
        layout: `ensemble`, three steps behind one name; `fused`, one model, fewest hops.
        format: how the session model is written: `onnx`, by the first of torch's two exporters whose graph passes the parity
            gate; `auto`, the same and TorchScript last, for which the server needs torch; `onnx_dynamo`, by the exporter on
            torch.export alone; `torchscript`.
        runtime: what runs the session model: `python`, Triton's Python backend; `native`, Triton's own backends, which
            NVIDIA's images have. Features and items run in the Python backend in either case.
        features: `compiled`, the workflow as a graph; `nvtabular`, the workflow itself, slow and pickled.
        accelerator: `cuda` or `tensorrt` for a native bundle whose retrieval step runs on a GPU; `none`.
        scoring: `exact`; `int8-rerank`, a scan in int8 whose best items are scored exactly; `ann`, a faiss index,
            likewise.
        min_recall: the least recall@20 of an approximate scoring on the sample's sessions, 0 to 1. 0: the scoring's own
            bound.
        top_k: items in an answer where a request does not say how many.
        max_top_k: the largest number of items in an answer.
        max_sessions: the largest number of sessions in one request, and the retrieval step's batch.
        max_interactions: the largest number of interactions of one session in a request. The model reads the newest of
            them.
        max_id_bytes: the largest number of bytes of UTF-8 in one string.
        threads: threads of the retrieval step's graph.
        instances: processes of the retrieval step's model. 0: the layout's own number, see `own_instances`.
        preferred_batch_size: the largest number of sessions of several requests that are answered in one batch.
        max_queue_delay_us: microseconds that a request waits for others to join its batch.
        max_queue_size: requests that may wait; further ones are refused. 0: no limit. Not with `runtime` native.
        max_queue_ms: milliseconds that the waiting requests may take to be answered, by the latest measurements;
            further ones are refused. 0: no limit. Not with `runtime` native.
        queue_timeout_ms: milliseconds after which a request that still waits is refused. 0: no limit, and the only
            value that costs nothing: any other makes Triton 24.10 miss requests for up to 500 ms.
        availability: a JSON file of items that must not be recommended, or of those that alone may be. None: all items
            may. model_repository/README.md describes the file.
        item_codes: `fitted`, a Categorify of the workflow gives items their codes; `as-is`, raw ids are integers that
            the model has rows for, and an id without a row is unknown.
        item_padding: the value of the item feature that the model was trained on where a session has no interaction. No
            item may have it. None: 0; `as-is` needs a value.
        keep_workflow_window: serve a workflow whose ListSlice keeps the oldest interactions as it is.
        keep_proof: sessions of the sample that the bundle keeps raw, by which updates of its catalogue are proved; 0: none.
        replace: put the bundle in place of one of the same name, also where the steps' configuration differs.

    Raises:
        ExportError: a value is out of its range, or two values exclude each other.
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
    keep_proof: int = 100
    replace: bool = False

    @property
    def own_instances(self) -> int:
        """Processes where no number is given: one, and two of `fused`.

        One process of `fused` computes while Triton carries the other's requests and answers, which takes half as long
        as answering them.
        """
        return 2 if self.layout == "fused" else 1

    def __post_init__(self) -> None:
        from .retrieval.choice import SCORINGS
        from .retrieval.formats import CHOICES

        choices = {
            "layout": LAYOUTS,
            "runtime": RUNTIMES,
            "features": FEATURES,
            "accelerator": ACCELERATORS,
            "format": CHOICES,
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
