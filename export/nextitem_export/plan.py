"""What one export is made of, worked out and checked before anything is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from nextitem_bundle.names import ANSWER, REQUEST_OPTIONS, is_reserved
from nextitem_bundle.runtime.filters import WIDTHS
from nextitem_bundle.runtime.signature import Feature, Head, Signature
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from ._errors import ExportError, UnsupportedModel, UnsupportedWorkflow
from .adapters.rows import ByRow
from .model_files.file import check_ids, feature_names
from .options import Columns, ExportOptions
from .retrieval.model import by_code, model_rows, session_model
from .retrieval.module import ModelFeature, heads_of
from .wire import plain_sample, raw_feature
from .workflow.fitted import FittedWorkflow, Vocabulary
from .workflow.item_probe import ItemProbe
from .workflow.item_values import ItemValues, fitted_items, items_as_is
from .workflow.lower import check_sources
from .workflow.registry import Context

_MODEL_DTYPES = {"i": "int64", "u": "int64", "b": "int64", "f": "float32"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A model and a workflow that fit each other.

    model: a copy in eval mode on the CPU. ranked_model: the same, with codes in the place of the item feature's values.
    features: what the model reads, in order. probe: asks NVTabular of items. sample: raw interactions with all of the
    workflow's columns; sessions: the same, one frame each of the session's id and what is sent. log_popularity: log share of
    training interactions by code, float32 [V].
    """

    model: nn.Module
    fitted: FittedWorkflow
    raw_dtypes: Mapping[str, str]
    features: tuple[ModelFeature, ...]
    item_feature: str
    vocabulary: Vocabulary
    item_values: ItemValues
    ranked_model: nn.Module
    probe: ItemProbe
    log_popularity: np.ndarray
    signature: Signature
    tie_breaker_column: str | None
    sample: pd.DataFrame
    sessions: list[pd.DataFrame]

    def as_version(self, version: int) -> Plan:
        """The same for a version of the bundle."""
        return dataclasses.replace(self, signature=dataclasses.replace(self.signature, bundle_version=version))

    def with_catalogue(self, attributes: Sequence[tuple[str, str]]) -> Plan:
        """The same for a bundle whose catalogue has these attributes, by name and dtype, which no request may send."""
        there = {feature.name for feature in self.signature.features}
        known = tuple(raw_feature(name, dtype) for name, dtype in attributes if name not in there)
        return dataclasses.replace(self, signature=dataclasses.replace(self.signature, catalogue=known))

    @property
    def raw_features(self) -> tuple[Feature, ...]:
        """What a caller sends."""
        return self.signature.features

    @property
    def item_tensor(self) -> str:
        """The tensor of encoded items between the features and the retrieval step."""
        return next(feature.tensor for feature in self.features if feature.name == self.item_feature)


def make_plan(model: object, workflow: Any, sample: pd.DataFrame, columns: Columns, options: ExportOptions) -> Plan:
    """Check model, workflow and sample against each other; see `export_bundle` for what they are.

    Raises UnsupportedWorkflow, UnsupportedModel or ExportError. The signature's bundle_version is 0 until placed.
    """
    sample = plain_sample(sample)
    model = session_model(model)
    if isinstance(model, ByRow):
        _refuse_item_options(model, options)
    fitted = FittedWorkflow(workflow)
    tie_breaker = columns.tie_breaker_column
    raw = _raw_dtypes(fitted, tie_breaker, columns.raw_dtypes)
    if columns.item_column not in raw:
        raise no_item_column(fitted, columns.item_column)
    item_feature = columns.item_feature or (model.item_feature if isinstance(model, ByRow) else None)
    item_feature = item_feature or item_feature_of(fitted, columns.item_column, as_is=options.item_codes == "as-is")
    if isinstance(model, ByRow):
        model.bind(item_feature)
    names = feature_names(model, columns.features, tuple(fitted.outputs))
    _check_features(fitted, names, item_feature)
    for feature in names:
        check_sources(workflow, feature, Context(fitted.session_column, tie_breaker))
    window = _window(fitted, names, columns.window, options)
    features = tuple(ModelFeature(name, f"feature__{i}", model_dtype(fitted, name)) for i, name in enumerate(names))
    sessions = _sessions(sample, fitted, raw, options.max_interactions)
    probe = ItemProbe(fitted, columns.item_column, item_feature, raw[columns.item_column], sample, tie_breaker)
    vocabulary, item_values, ranked_model = _items(model, fitted, probe, features, window, options)
    check_ids(model, vocabulary.values, item_values.by_code)
    if tie_breaker not in (None, *sample):
        sample = sample.assign(**{tie_breaker: range(len(sample))})
    return Plan(
        model=model,
        fitted=fitted,
        raw_dtypes=raw,
        features=features,
        item_feature=item_feature,
        vocabulary=vocabulary,
        item_values=item_values,
        ranked_model=ranked_model,
        probe=probe,
        log_popularity=_log_popularity(vocabulary),
        signature=_signature(columns.item_column, raw, window, _heads(model, raw), options),
        tie_breaker_column=tie_breaker,
        sample=sample,
        sessions=sessions,
    )


def _signature(
    item_column: str, raw: Mapping[str, str], window: int, heads: tuple[Head, ...], options: ExportOptions
) -> Signature:
    return Signature(
        bundle_version=0,
        window=window,
        item_column=item_column,
        features=tuple(raw_feature(name, dtype) for name, dtype in raw.items()),
        top_k_default=options.top_k,
        top_k_limit=options.max_top_k,
        max_sessions_per_request=options.max_sessions,
        max_interactions_per_session=options.max_interactions,
        max_id_bytes=options.max_id_bytes,
        max_filter_ids=WIDTHS[-1],
        options=REQUEST_OPTIONS,
        heads=heads,
    )


def _items(
    model: nn.Module,
    fitted: FittedWorkflow,
    probe: ItemProbe,
    features: Sequence[ModelFeature],
    window: int,
    options: ExportOptions,
) -> tuple[Vocabulary, ItemValues, nn.Module]:
    """The catalogue, what the item feature holds for it, and the model as codes ask it."""
    padding = options.item_padding or 0
    dtypes = {feature.name: feature.dtype for feature in features}
    if isinstance(model, ByRow):
        vocabulary, values = fitted_items(fitted, probe, padding)
        rows = model_rows(model, dtypes, window, probe.feature, model.places.row)
        read = ItemValues(model.values(vocabulary.values, rows), known_alone=True)
        return vocabulary, values, by_code(model, probe.feature, read, rows)
    if options.item_codes == "as-is":
        rows = model_rows(model, dtypes, window, probe.feature, padding)
        vocabulary, values = items_as_is(fitted, probe, padding, rows)
    else:
        vocabulary, values = fitted_items(fitted, probe, padding)
    if values.are_codes:
        return vocabulary, values, model
    rows = model_rows(model, dtypes, window, probe.feature, padding)
    values.check_rows(rows, probe.feature, type(model).__name__)
    return vocabulary, values, by_code(model, probe.feature, values, rows)


def _refuse_item_options(model: ByRow, options: ExportOptions) -> None:
    if options.item_codes == "as-is" or options.item_padding is not None:
        raise ExportError(
            f"{type(model).__name__} has rows of its own by raw id, and item_codes 'as-is' and item_padding are for models "
            "without them: leave both away, and encode the item column with ops.Categorify()"
        )


def _log_popularity(vocabulary: Vocabulary) -> np.ndarray:
    # An item that a vocabulary given by hand lists and training never saw counts half an interaction: its logarithm
    # must be a number, and behind all others.
    counts = np.maximum(vocabulary.counts, 0.5)
    special = np.full(FIRST_ITEM, LOWEST_FLOAT32)
    return np.concatenate([special, np.log(counts / counts.sum())]).astype(np.float32)


def _raw_dtypes(fitted: FittedWorkflow, tie_breaker: str | None, pinned: Mapping[str, str] | None) -> dict[str, str]:
    if tie_breaker is not None and tie_breaker not in fitted.raw_columns:
        raise UnsupportedWorkflow(
            f"the workflow has no input '{tie_breaker}' to break ties in time with, it reads "
            f"{', '.join(fitted.raw_columns)}"
        )
    raw = {
        name: (pinned or {}).get(name, dtype)
        for name, dtype in fitted.raw_columns.items()
        if name not in (fitted.session_column, tie_breaker)
    }
    refuse_reserved(raw)
    return raw


def refuse_reserved(raw_columns: Iterable[str]) -> None:
    """Raise UnsupportedWorkflow where a raw column has the name of a tensor that every bundle has."""
    taken = sorted(filter(is_reserved, raw_columns))
    if taken:
        raise UnsupportedWorkflow(
            f"the raw columns {', '.join(taken)} have names that a bundle gives to tensors of its own, in the request, "
            "in the answer or between its steps: rename them before fitting the workflow"
        )


def _heads(model: nn.Module, raw: Mapping[str, str]) -> tuple[Head, ...]:
    heads = heads_of(model)
    taken = [head.name for head in heads if head.name in raw or is_reserved(head.name)]
    if taken:
        raise UnsupportedModel(
            f"the model's heads {', '.join(taken)} have names that the bundle gives to other tensors, which are the raw "
            f"columns {', '.join(raw)}, the request's {', '.join(REQUEST_OPTIONS)}, the answer's {', '.join(ANSWER)} and those "
            "between its steps: give the heads other names"
        )
    return heads


def no_item_column(fitted: FittedWorkflow, item_column: str) -> UnsupportedWorkflow:
    """The error for a column of item ids that the workflow does not read."""
    return UnsupportedWorkflow(
        f"the workflow has no input '{item_column}', it reads {', '.join(fitted.raw_columns)}: name the column of raw item ids "
        "as item_column"
    )


def item_feature_of(fitted: FittedWorkflow, item_column: str, *, as_is: bool = False) -> str:
    """The one output with the codes of the raw item column, or `as_is` with its values. Raises UnsupportedWorkflow."""
    encoded, plain = fitted.encoded_outputs_of(item_column), fitted.plain_outputs_of(item_column)
    candidates = plain if as_is else encoded
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UnsupportedWorkflow(
            f"{len(candidates)} outputs of the workflow hold codes of '{item_column}' ({', '.join(candidates)}), expected one: "
            "name it as item_feature"
        )
    if as_is:
        raise UnsupportedWorkflow(
            f"no list that the workflow returns is made of '{item_column}' without a Categorify, which item_codes "
            "'as-is' is for: "
            "leave item_codes away, or return the column's list"
        )
    remedy = "encode the column with ops.Categorify()"
    if any(np.dtype(fitted.outputs[name].dtype).kind in "iu" for name in plain):
        remedy += f", or, where its values are the rows of the model's own table ({', '.join(plain)}), export with the option "
        remedy += "item_codes 'as-is'"
    raise UnsupportedWorkflow(f"no list that the workflow returns holds codes of '{item_column}': {remedy}")


def _check_features(fitted: FittedWorkflow, names: tuple[str, ...], item_feature: str) -> None:
    unknown = [name for name in names if name not in fitted.outputs]
    if unknown:
        raise UnsupportedModel(
            f"the model reads {', '.join(unknown)}, which the workflow does not return as lists; it returns "
            f"{', '.join(fitted.outputs)}"
        )
    if item_feature not in names:
        raise UnsupportedModel(
            f"the model reads {', '.join(names)} but not '{item_feature}', the encoded items: name it among features"
        )
    for name in names:
        model_dtype(fitted, name)
    if model_dtype(fitted, item_feature) != "int64":
        raise UnsupportedWorkflow(
            f"the workflow's output '{item_feature}' is {fitted.outputs[item_feature].dtype}, expected integers, since "
            "items are "
            f"counted: leave out what turns its codes into floats ({fitted.changed_by(item_feature)}), and let the "
            "model do that"
        )


def model_dtype(fitted: FittedWorkflow, name: str) -> str:
    """The type in which a model reads an output, int64 or float32. Raises UnsupportedWorkflow for others."""
    kind = np.dtype(fitted.outputs[name].dtype).kind
    if kind not in _MODEL_DTYPES:
        raise UnsupportedWorkflow(
            f"the workflow's output '{name}' is {fitted.outputs[name].dtype}, expected integers or floats: encode it "
            "with ops.Categorify() or leave it out of features"
        )
    return _MODEL_DTYPES[kind]


def _window(fitted: FittedWorkflow, names: tuple[str, ...], given: int | None, options: ExportOptions) -> int:
    kept = {name: fitted.window(name, keep_oldest=options.keep_workflow_window) for name in names}
    bounded = {name: width for name, width in kept.items() if width is not None}
    if given is None and not bounded:
        raise UnsupportedWorkflow(
            "nothing in the workflow bounds a session's length: add ops.ListSlice(-20) after the Groupby, or give the "
            "window"
        )
    window = given or min(bounded.values())
    uneven = {name: width for name, width in bounded.items() if width < window}
    if uneven or len(set(bounded.values())) > 1:
        raise UnsupportedWorkflow(
            f"the window is {window} but the workflow keeps {bounded} interactions: slice all features of the model to "
            "one length, the window"
        )
    if options.max_interactions < window:
        raise ExportError(
            f"max_interactions is {options.max_interactions}, below the window {window}: no request could fill the "
            f"window; give {window} or more"
        )
    return window


def _sessions(sample: pd.DataFrame, fitted: FittedWorkflow, raw: Mapping[str, str], most: int) -> list[pd.DataFrame]:
    missing = [name for name in (fitted.session_column, *raw) if name not in sample.columns]
    if missing:
        raise ExportError(
            f"the sample lacks the column(s) {', '.join(missing)} that the workflow reads; it has "
            f"{', '.join(sample.columns)}"
        )
    if not sample[fitted.session_column].notna().to_numpy().any():
        what = "empty" if not len(sample) else f"without a single session: '{fitted.session_column}' is null throughout"
        raise ExportError(f"the sample is {what}, expected raw interactions of some hundred sessions")
    groups = sample.groupby(fitted.session_column, sort=False)
    columns = [fitted.session_column, *raw]
    return [session[columns].iloc[-most:].reset_index(drop=True) for _, session in groups]
