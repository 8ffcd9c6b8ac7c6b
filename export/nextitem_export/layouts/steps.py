"""The three steps as folders, and the tensors that stand between them and at both ends: what all layouts share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from nextitem_bundle.config import TensorSpec
from nextitem_bundle.runtime.features.program import Program
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.request import RequestError
from nextitem_bundle.runtime.retrieval import AVAILABILITY, AvailabilityError, read_availability
from nextitem_bundle.runtime.step import open_step

from .._errors import ExportError
from ..graphs import id_decoder
from ..graphs.features import write_features
from ..options import ExportOptions
from ..plan import Plan
from ..retrieval.choice import ScoringChoice
from ..retrieval.formats import write_retrieval
from ..retrieval.module import Retrieval
from ..retrieval.session_graph import SessionGraph
from ..retrieval.tensors import filter_tensors, head_tensors
from ..wire import request_tensors
from ..workflow.backend_choice import ONNX
from .runtimes import RUNTIMES

#: Sessions of the sample on which the recall of an approximate scoring is measured, at most.
RECALL_SESSIONS = 500
#: Those that show what a first look can prove.
PROVED_SESSIONS = 100


class StepFolders(NamedTuple):
    """The version folders of the three steps."""

    features: Path
    retrieval: Path
    items: Path


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written of a bundle's steps, as a catalogue keeps it.

    Attributes:
        session: the session model's part of the graph, before it shares the item table; None where it is TorchScript.
        program: the compiled workflow; None where the workflow itself is served.
        queries: of some sessions, float32 [S, D]; S is 0 where the model gives scores.
    """

    session: SessionGraph | None
    program: Program | None
    queries: np.ndarray


def write_steps(folders: StepFolders, plan: Plan, options: ExportOptions) -> Written:
    """Write the three steps with their step.json, each into its folder, which must not be there yet."""
    for folder in folders:
        folder.mkdir(parents=True)
    runtime = RUNTIMES[options.runtime]
    compiled = write_features(plan, options.features, folders.features, runtime.backend)
    module = Retrieval(
        plan.ranked_model,
        plan.features,
        plan.item_feature,
        plan.log_popularity,
        options.max_top_k,
        plan.signature.heads,
    )
    few = encoded(plan, folders.features, of_other_lengths(plan, 2))
    example = _tensors(plan, few)
    ItemIndex.of(plan.vocabulary.values).save(folders.retrieval)
    _write_availability(plan, options, folders.retrieval)
    sessions = plan.sessions[: PROVED_SESSIONS if options.scoring == "exact" else RECALL_SESSIONS]
    sample = _tensors(plan, encoded(plan, folders.features, sessions))
    session = write_retrieval(
        options.format,
        module,
        plan.features,
        example,
        folders.retrieval,
        threads=options.threads,
        scoring=ScoringChoice(options.scoring, options.min_recall, first_look=options.accelerator == "none"),
        sample=sample,
    )
    runtime.finish_retrieval(folders.retrieval, few)
    id_decoder.write_items(plan.vocabulary.values, folders.items, runtime.backend.name if runtime.backend else ONNX)
    return Written(session, compiled.program if compiled else None, module.queries(sample))


def available_items(plan: Plan, options: ExportOptions) -> np.ndarray:
    """bool [V]: all items, or those that the list which was given leaves. Raises ExportError if it cannot be read."""
    index = ItemIndex.of(plan.vocabulary.values)
    if options.availability is None:
        return np.ones(index.cardinality, dtype=bool)
    if not Path(options.availability).is_file():
        raise ExportError(f"the availability list {options.availability} is not there, or no file")
    try:
        return read_availability(Path(options.availability), index)
    except AvailabilityError as error:
        raise ExportError(str(error)) from error


def _write_availability(plan: Plan, options: ExportOptions, retrieval: Path) -> None:
    available_items(plan, options)  # raises if the list is not one
    given = options.availability
    text = Path(given).read_text(encoding="utf-8") if given else json.dumps({"unavailable": []})
    (retrieval / AVAILABILITY).write_text(text, encoding="utf-8")


def request_specs(plan: Plan) -> list[TensorSpec]:
    """The request, [B, …] written out.

    Every input is optional, the required ones too: with a mixture Triton answers a request that lacks one with a
    deadlock; so the bundle's own code says what is missing.
    """
    return [
        *(TensorSpec(f.name, f.datatype, (-1, -1), optional=True) for f in plan.raw_features),
        TensorSpec("session_length", "INT32", (-1, 1), optional=True),
        TensorSpec("top_k", "INT32", (-1, 1), optional=True),
        TensorSpec("exclude_item_ids", _item_type(plan), (-1, -1), optional=True),
        TensorSpec("allow_item_ids", _item_type(plan), (-1, -1), optional=True),
        TensorSpec("exclude_seen", "BOOL", (-1, 1), optional=True),
        *(TensorSpec(f.name, f.datatype, (-1, -1), optional=True) for f in plan.signature.catalogue),
    ]


def response_specs(plan: Plan) -> list[TensorSpec]:
    """The answer, [B, …] written out."""
    return [
        TensorSpec("item_ids", _item_type(plan), (-1, -1)),
        TensorSpec("scores", "FP32", (-1, -1)),
        TensorSpec("status", "BYTES", (-1, 1)),
        *(TensorSpec(head.name, "FP32", (-1, head.width)) for head in plan.signature.heads),
    ]


def head_names(plan: Plan) -> dict[str, str]:
    """The retrieval step's names for the further heads to those of the answer."""
    return {tensor: head.name for tensor, head in head_tensors(plan.signature.heads).items()}


def ranked_tensors(plan: Plan) -> list[str]:
    """What goes from the features step to the retrieval step."""
    return [*(feature.tensor for feature in plan.features), *filter_tensors(plan.features)[:2]]


def first_request(plan: Plan) -> dict[str, np.ndarray]:
    """A warm-up request: the sample's first session, in the window."""
    window = plan.signature.window
    request = request_tensors(plan.sessions[:1], plan.raw_features, width=max(window, len(plan.sessions[0])))
    first = {name: values[:, :window] for name, values in request.items()}
    first["session_length"] = np.minimum(first["session_length"], window).astype(np.int32)
    return first


def of_other_lengths(plan: Plan, count: int) -> list[pd.DataFrame]:
    """So many sessions of the sample, of different lengths as far as it has them; the first one again where it has too few."""
    by_length = {len(session): session for session in plan.sessions}
    chosen = [*by_length.values(), *plan.sessions][:count]
    return chosen + chosen[:1] * (count - len(chosen))


def encoded(plan: Plan, features_folder: Path, sessions: Sequence[pd.DataFrame]) -> dict[str, np.ndarray]:
    """What the retrieval step reads of these sessions, by the step that was just written."""
    step = open_step(features_folder)
    try:
        # One at a time: the limit on sessions per request may be 1.
        each = [step.run(request_tensors([session], plan.raw_features)) for session in sessions]
    except RequestError as error:
        raise ExportError(f"the sample's sessions are no valid request to the bundle: {error}") from error
    return {name: np.concatenate([one[name] for one in each]) for name in ranked_tensors(plan)}


def _tensors(plan: Plan, arrays: dict[str, np.ndarray]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(arrays[feature.tensor]) for feature in plan.features)


def _item_type(plan: Plan) -> str:
    return "BYTES" if plan.vocabulary.values.dtype == object else "INT64"
