"""The layout `ensemble`: features, ranker and items as three models behind one that clients call."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from . import runtime
from ._errors import ExportError
from .graphs import items
from .graphs.features import write_features
from .graphs.formats import FORMATS, write_ranker
from .graphs.ranker import OUTPUTS, Ranker, filter_tensors
from .options import ExportOptions
from .plan import Plan
from .runtime.item_index import ItemIndex
from .runtime.ranker import AVAILABILITY
from .runtime.request import RequestError
from .runtime.step import open_step
from .triton_config import EnsembleStep, StepConfig, TensorSpec, WarmUp, write_ensemble
from .wire import request_tensors

_DATATYPES = {"int64": "INT64", "float32": "FP32"}

_MODEL_PY = '''"""{what} of the nextitem bundle "{name}"; the code is in nextitem_runtime beside this file."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # a model repository may be read-only, and its files have checksums
sys.path.insert(0, str(Path(__file__).parent))

from nextitem_runtime.triton_model import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
'''


@dataclasses.dataclass(frozen=True)
class EnsembleLayout:
    """The models of one bundle, in the order in which they are placed: the ensemble last."""

    name: str

    @property
    def steps(self) -> tuple[str, str, str]:
        """The names of the features, ranker and items steps."""
        return f"{self.name}_features", f"{self.name}_ranker", f"{self.name}_items"

    @property
    def models(self) -> list[str]:
        """All models, the ensemble last."""
        return [*self.steps, self.name]


def write_steps(build: Path, layout: EnsembleLayout, plan: Plan, options: ExportOptions) -> None:
    """Write the three steps' version folders, `build/<step>/<version>`, version from the plan's signature."""
    features, ranker, items_folder = version_folders(build, layout, plan)
    for folder, what in ((features, "Features"), (ranker, "Ranker"), (items_folder, "Items")):
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(_MODEL_PY.format(what=what, name=layout.name))
        _copy_runtime(folder / "nextitem_runtime")
    write_features(plan, options.features, features)
    module = Ranker(plan.model, plan.features, plan.item_feature, plan.log_popularity, options.max_top_k)
    encoded = _encoded(plan, features, 2)
    example = tuple(torch.from_numpy(encoded[feature.tensor]) for feature in plan.features)
    ItemIndex.of(plan.vocabulary.values).save(ranker)
    (ranker / AVAILABILITY).write_text(json.dumps({"unavailable": []}), encoding="utf-8")
    write_ranker(options.format, module, plan.features, example, ranker, threads=options.threads)
    items.write_items(plan.vocabulary.values, items_folder)


def version_folders(build: Path, layout: EnsembleLayout, plan: Plan) -> tuple[Path, Path, Path]:
    """The version folders of features, ranker and items."""
    features, ranker, items_name = layout.steps
    version = str(plan.signature.bundle_version)
    return build / features / version, build / ranker / version, build / items_name / version


def write_configs(build: Path, layout: EnsembleLayout, plan: Plan, options: ExportOptions) -> None:
    """Write the config.pbtxt of all four models, with warm-up requests made of the sample."""
    for config in _step_configs(build, layout, plan, options):
        config.write(build / config.name)
    features, ranker, items_name = layout.steps
    signature = plan.signature
    (build / layout.name / str(signature.bundle_version)).mkdir(parents=True)
    write_ensemble(
        build / layout.name,
        layout.name,
        signature.bundle_version,
        _request(plan),
        _response(plan),
        [
            EnsembleStep(
                features,
                {spec.name: spec.name for spec in _request(plan)},
                {name: name for name in (*_ranked(plan), items.TOP_K)},
            ),
            EnsembleStep(
                ranker,
                {name: name for name in _ranked(plan)},
                dict(zip(OUTPUTS, OUTPUTS, strict=True)),
            ),
            EnsembleStep(
                items_name,
                {
                    **dict(zip(items.INPUTS[:3], OUTPUTS, strict=True)),
                    items.TOP_K: items.TOP_K,
                },
                {spec.name: spec.name for spec in _response(plan)},
            ),
        ],
        {"nextitem.signature": signature.to_json()},
    )


def _step_configs(build: Path, layout: EnsembleLayout, plan: Plan, options: ExportOptions) -> Iterator[StepConfig]:
    features_folder, ranker_folder, _ = version_folders(build, layout, plan)
    window = plan.signature.window
    # Every input is optional, the required ones too: with a mixture Triton answers a request that lacks one with a
    # deadlock; so the features step says what is missing.
    encoded = [TensorSpec(f.tensor, _DATATYPES[f.dtype], (-1, window)) for f in plan.features]
    encoded += [TensorSpec(name, "INT64", (-1, -1)) for name in filter_tensors(plan.features)[:2]]
    top_k = TensorSpec(items.TOP_K, "INT64", (1,))
    batched = tuple(TensorSpec(s.name, s.datatype, s.dims[1:]) for s in encoded)
    ranked = [("INT64", (-1, -1)), ("FP32", (-1, -1)), ("INT32", (-1, 1))]
    request = request_tensors(plan.sessions[:1], plan.raw_features, width=max(window, len(plan.sessions[0])))
    first = {name: values[:, :window] for name, values in request.items()}
    first["session_length"] = np.minimum(first["session_length"], window).astype(np.int32)
    yield StepConfig(
        layout.steps[0],
        tuple(_request(plan)),
        (*encoded, top_k),
        max_batch_size=0,
        warm_ups=(WarmUp("session", first),),
    )
    batches = {min(batch, options.max_sessions) for batch in FORMATS[options.format].warm_batches}
    example = _encoded(plan, features_folder, 1)
    yield StepConfig(
        layout.steps[1],
        batched,
        tuple(TensorSpec(name, kind, dims[1:]) for name, (kind, dims) in zip(OUTPUTS, ranked, strict=True)),
        max_batch_size=options.max_sessions,
        warm_ups=tuple(
            WarmUp(f"batch_{size}", {name: np.repeat(t, size, axis=0) for name, t in example.items()})
            for size in sorted(batches)
        ),
    )
    answer = open_step(ranker_folder).run(example)
    yield StepConfig(
        layout.steps[2],
        (
            *(TensorSpec(name, kind, dims) for name, (kind, dims) in zip(items.INPUTS[:3], ranked, strict=True)),
            top_k,
        ),
        tuple(_response(plan)),
        max_batch_size=0,
        warm_ups=(
            WarmUp(
                "session",
                {
                    **dict(zip(items.INPUTS[:3], answer.values(), strict=True)),
                    items.TOP_K: np.array([options.top_k]),
                },
            ),
        ),
    )


def _request(plan: Plan) -> list[TensorSpec]:
    return [
        *(TensorSpec(f.name, f.datatype, (-1, -1), optional=True) for f in plan.raw_features),
        TensorSpec("session_length", "INT32", (-1, 1), optional=True),
        TensorSpec("top_k", "INT32", (-1, 1), optional=True),
        TensorSpec("exclude_item_ids", _item_type(plan), (-1, -1), optional=True),
        TensorSpec("allow_item_ids", _item_type(plan), (-1, -1), optional=True),
        TensorSpec("exclude_seen", "BOOL", (-1, 1), optional=True),
    ]


def _item_type(plan: Plan) -> str:
    return "BYTES" if plan.vocabulary.values.dtype == object else "INT64"


def _ranked(plan: Plan) -> list[str]:
    """What goes from the features step to the ranker."""
    return [*(feature.tensor for feature in plan.features), *filter_tensors(plan.features)[:2]]


def _response(plan: Plan) -> list[TensorSpec]:
    return [
        TensorSpec("item_ids", _item_type(plan), (-1, -1)),
        TensorSpec("scores", "FP32", (-1, -1)),
        TensorSpec("status", "BYTES", (-1, 1)),
    ]


def _encoded(plan: Plan, features_folder: Path, sessions: int) -> dict[str, np.ndarray]:
    """The features of the first sessions of different lengths, by the step that was just written."""
    by_length = {len(session): session for session in plan.sessions}
    chosen = [*by_length.values(), *plan.sessions][:sessions]
    chosen += chosen[:1] * (sessions - len(chosen))
    step = open_step(features_folder)
    try:
        # One at a time: the limit on sessions per request may be 1.
        encoded = [step.run(request_tensors([session], plan.raw_features)) for session in chosen]
    except RequestError as error:
        raise ExportError(f"the sample's sessions are no valid request to the bundle: {error}") from error
    return {name: np.concatenate([one[name] for one in encoded]) for name in _ranked(plan)}


def _copy_runtime(target: Path) -> None:
    source = Path(runtime.__file__).parent
    target.mkdir()
    for module in sorted(source.glob("*.py")):
        shutil.copy(module, target)
