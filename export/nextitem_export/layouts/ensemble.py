"""The layout `ensemble`: features, retrieval and items as three models behind one that clients call.

Warm-up requests are the same bytes in every export of one configuration, since all versions of a step share them. What is
asked does not matter for warmth, its shapes do. So the values are those that every vocabulary has: the first item, otherwise
the code of padding, and raw values that need not be known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from nextitem_bundle.config import Batching, EnsembleStep, StepConfig, TensorSpec, WarmUp, write_ensemble
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.steps import read_step, write_step

from ..graphs import id_decoder
from ..options import ExportOptions
from ..plan import Plan
from ..retrieval.tensors import OUTPUTS, filter_tensors, head_tensors
from .runtimes import RUNTIMES, add_python_model, batching, queue, queued, unlimited, warm_batches, without_batch
from .steps import (
    StepFolders,
    encoded,
    head_names,
    of_other_lengths,
    ranked_tensors,
    request_specs,
    response_specs,
)

_DATATYPES = {"int64": "INT64", "float32": "FP32"}
_RAW = {
    "BYTES": np.array(b"-", dtype=np.object_),
    "INT64": np.array(0, dtype=np.int64),
    "FP32": np.array(0, dtype=np.float32),
}


@dataclasses.dataclass(frozen=True)
class EnsembleLayout:
    """Three steps that Triton chains. The retrieval step sees few shapes, whatever a request holds, and is batched."""

    name: str

    @property
    def steps(self) -> tuple[str, str, str]:
        """The names of the features, retrieval and items steps."""
        return f"{self.name}_features", f"{self.name}_retrieval", f"{self.name}_items"

    @property
    def models(self) -> list[str]:
        """All models, the ensemble last."""
        return [*self.steps, self.name]

    def folders(self, build: Path, version: int) -> StepFolders:
        """`build/<step>/<version>`."""
        return StepFolders(*(build / step / str(version) for step in self.steps))

    def assemble(self, build: Path, plan: Plan, options: ExportOptions) -> None:
        """The steps stay what they are; each gets the runtime."""
        folders = self.folders(build, plan.signature.bundle_version)
        add_python_model(folders.features, "Features", self.name)
        RUNTIMES[options.runtime].add_retrieval_code(folders.retrieval, self.name, options)
        waiting = unlimited(queue(options), warm_ups=1)
        write_step(folders.items, dataclasses.replace(read_step(folders.items), queue=waiting))
        add_python_model(folders.items, "Items", self.name)

    def write_configs(self, build: Path, plan: Plan, options: ExportOptions) -> None:
        """Write the config.pbtxt of all four models, with warm-up requests made of the sample."""
        for config in self._step_configs(build, plan, options):
            config.write(build / config.name)
        features, retrieval, items_name = self.steps
        request, response = request_specs(plan), response_specs(plan)
        signature = plan.signature
        (build / self.name / str(signature.bundle_version)).mkdir(parents=True, exist_ok=True)
        write_ensemble(
            build / self.name,
            self.name,
            signature.bundle_version,
            request,
            response,
            [
                EnsembleStep(
                    features,
                    signature.bundle_version,
                    {spec.name: spec.name for spec in request},
                    {name: name for name in (*ranked_tensors(plan), id_decoder.TOP_K)},
                ),
                EnsembleStep(
                    retrieval,
                    signature.bundle_version,
                    {name: name for name in ranked_tensors(plan)},
                    {**dict(zip(OUTPUTS, OUTPUTS, strict=True)), **head_names(plan)},
                ),
                EnsembleStep(
                    items_name,
                    signature.bundle_version,
                    {**dict(zip(id_decoder.INPUTS[:3], OUTPUTS, strict=True)), id_decoder.TOP_K: id_decoder.TOP_K},
                    {name: name for name in id_decoder.OUTPUTS},
                ),
            ],
            {"nextitem.signature": signature.to_json()},
        )

    def _step_configs(self, build: Path, plan: Plan, options: ExportOptions) -> Iterator[StepConfig]:
        signature, version = plan.signature, plan.signature.bundle_version
        folders = self.folders(build, version)
        tensors = [TensorSpec(f.tensor, _DATATYPES[f.dtype], (-1, plan.signature.window)) for f in plan.features]
        tensors += [TensorSpec(name, "INT64", (-1, -1)) for name in filter_tensors(plan.features)[:2]]
        top_k = TensorSpec(id_decoder.TOP_K, "INT64", (-1, 1))
        k = plan.signature.top_k_limit
        ranked = [("INT64", (-1, k)), ("FP32", (-1, k)), ("INT32", (-1, 1))]
        yield StepConfig(
            self.steps[0],
            tuple(request_specs(plan)),
            (*tensors, top_k),
            max_batch_size=0,
            warm_ups=(WarmUp("session", features_request(plan)),),
            version=version,
        )
        example = retrieval_request(plan, encoded(plan, folders.features, of_other_lengths(plan, 1)))
        retrieval = StepConfig(
            self.steps[1],
            tuple(without_batch(spec) for spec in tensors),
            (
                *(TensorSpec(name, kind, dims[1:]) for name, (kind, dims) in zip(OUTPUTS, ranked, strict=True)),
                *(TensorSpec(name, "FP32", (head.width,)) for name, head in head_tensors(signature.heads).items()),
            ),
            max_batch_size=options.max_sessions,
            accelerator=options.accelerator,
            batching=batching(options),
            instances=options.instances,
            warm_ups=tuple(
                WarmUp(f"batch_{size}", {name: np.repeat(t, size, axis=0) for name, t in example.items()})
                for size in warm_batches(options)
            ),
            version=version,
        )
        yield RUNTIMES[options.runtime].configured(retrieval, folders.retrieval, options)
        of_items = [
            *(TensorSpec(name, kind, dims) for name, (kind, dims) in zip(id_decoder.INPUTS[:3], ranked, strict=True)),
            top_k,
        ]
        items = StepConfig(
            self.steps[2],
            tuple(without_batch(spec) for spec in of_items),
            tuple(without_batch(spec) for spec in response_specs(plan) if spec.name in id_decoder.OUTPUTS),
            max_batch_size=options.max_sessions,
            batching=Batching(preferred_size=None),
            warm_ups=(WarmUp("session", items_request(plan)),),
            version=version,
        )
        yield queued(items)


def features_request(plan: Plan) -> dict[str, np.ndarray]:
    """A session of the window's length, [1, T]."""
    window = plan.signature.window
    request = {"session_length": np.array([[window]], dtype=np.int32)}
    for feature in plan.raw_features:
        value = _RAW[feature.datatype]
        request[feature.name] = np.full((1, window), value, dtype=value.dtype)
    return request


def retrieval_request(plan: Plan, example: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What retrieval reads of a session of that length. example: what it reads of any session without filters, [1, …]."""
    request = dict(example)
    for feature in plan.features:
        value = FIRST_ITEM if feature.name == plan.item_feature else 0
        request[feature.tensor] = np.full_like(example[feature.tensor], value)
    return request


def items_request(plan: Plan) -> dict[str, np.ndarray]:
    """As many items as may be asked for, [1, K]."""
    k = plan.signature.top_k_limit
    return {
        id_decoder.CODES: np.full((1, k), FIRST_ITEM, dtype=np.int64),
        id_decoder.SCORES: np.zeros((1, k), dtype=np.float32),
        id_decoder.STATUS: np.zeros((1, 1), dtype=np.int32),
        id_decoder.TOP_K: np.array([[k]]),
    }
