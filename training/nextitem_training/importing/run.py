"""From a state dict and a fitted workflow to a run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pyarrow.parquet

from nextitem_training import run_directory, workflow
from nextitem_training.bodies import check_combination
from nextitem_training.config import Config, DataConfig, InputsConfig, ModelConfig
from nextitem_training.config.names import check_sent
from nextitem_training.errors import CheckpointError, DataError
from nextitem_training.evaluation import last_of_each, metrics_of, model_ranks
from nextitem_training.evaluation.baselines import MODEL, POPULARITY, popularity_ranks
from nextitem_training.importing.bodies import LAYER_NORM_EPS, body_weights
from nextitem_training.importing.columns import WorkflowColumns, source, window, workflow_columns
from nextitem_training.importing.schema_file import read_schema
from nextitem_training.importing.shape import ModelShape, model_shape
from nextitem_training.importing.told import Told
from nextitem_training.importing.weights import Weights, read_weights
from nextitem_training.interactions import conform, pinned_dtype, table_to_frame
from nextitem_training.model import SessionModel
from nextitem_training.run_directory import RunDirectory, new_run_directory, refuse_existing
from nextitem_training.schema import CATEGORICAL, CONTINUOUS, Feature, RawFeature, SessionSchema

if TYPE_CHECKING:
    import nvtabular as nvt

_SAMPLE_SESSIONS = 500


@dataclass(frozen=True)
class ImportedFiles:
    """What a run is made from.

    state_dict: of the model, torch's or safetensors. schema: that the model was built from. workflow: the folder that
    `nvtabular.Workflow.save` wrote; its pickle is read. sample: a Parquet file of raw interactions.
    """

    state_dict: Path
    schema: Path
    workflow: Path
    sample: Path


def import_run(
    files: ImportedFiles, told: Told, output: str | Path, *, overwrite: bool = False
) -> dict[str, dict[str, float]]:
    """Makes a run directory of a model that Transformers4Rec trained.

    Returns:
        How the model and popularity rank the last interaction of the sample's sessions, by ranker; empty where the
        workflow does not return the session column.

    Raises:
        CheckpointError: the model, its schema or its workflow cannot be taken over.
        ConfigError: what was said of the model does not fit it.
        DataError: the sample lacks a column.
        RunDirectoryError: the output is taken, or the workflow cannot be loaded.
    """
    refuse_existing(output, overwrite=overwrite)
    weights, fitted = read_weights(files.state_dict), workflow.load(files.workflow)
    shape = model_shape(weights, read_schema(files.schema), told)
    columns = workflow_columns(fitted, told.tie_breaker)
    sample, dtypes = _sample(files.sample, fitted, columns)
    schema = _schema(shape, fitted, columns, dtypes, told)
    config = _config(shape, schema, fitted, told)
    model = _model(shape, weights, config, schema)
    metrics = _metrics(model, fitted, schema, sample)
    with new_run_directory(output, overwrite=overwrite) as building:
        run_directory.write(
            building,
            config=config,
            schema=schema,
            model=model,
            save_workflow=partial(workflow.save, fitted),
            sample=sample,
            metrics={"metrics": metrics, "imported_from": files.state_dict.name},
        )
    RunDirectory.open(output)
    return metrics


def _sample(path: Path, fitted: nvt.Workflow, columns: WorkflowColumns) -> tuple[pd.DataFrame, dict[str, str]]:
    """The last sessions of the file, as training keeps them, and every column's dtype."""
    names = [name for name in fitted.input_schema.column_names if name != columns.tie_breaker]
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"The sample {path} cannot be read as Parquet ({error}).") from error
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DataError(
            f"The sample {path} has no column '{missing[0]}', which the workflow reads; expected are {', '.join(names)}."
        )
    table = table.select(names)
    dtypes = {field.name: pinned_dtype(field) for field in table.schema}
    frame = conform(table_to_frame(table), dtypes)
    ids: Any = frame[columns.session]
    last: Any = ids.dropna().drop_duplicates(keep="last").iloc[-_SAMPLE_SESSIONS:]
    return cast("pd.DataFrame", frame[ids.isin(last)]).reset_index(drop=True), dtypes


def _schema(
    shape: ModelShape, fitted: nvt.Workflow, columns: WorkflowColumns, dtypes: Mapping[str, str], told: Told
) -> SessionSchema:
    item = shape.categorical[0]
    _check_outputs(shape, fitted)
    sliced = window(fitted, item)
    if not (told.window or sliced):
        raise CheckpointError("Nothing in the workflow bounds a session's length; say it with --window.")
    features = []
    for place, name in enumerate((*shape.categorical, *shape.numbers)):
        code = place < len(shape.categorical)
        rows = len(shape.loads[f"inputs.embeddings.{place}.weight"]) if code else None
        kind, dtype = (CATEGORICAL, "int64") if code else (CONTINUOUS, "float32")
        tags = (kind, "item_id") if name == item else (kind,)
        features.append(Feature(name, dtype, kind, rows, tags))
    item_column = source(fitted, item)
    raw = [RawFeature(name, dtype) for name, dtype in dtypes.items() if name != columns.session]
    check_sent(feature.name for feature in raw)
    return SessionSchema(
        window=told.window or int(sliced or 0),
        session_column=columns.session,
        time_column=columns.time,
        tie_breaker_column=columns.tie_breaker,
        item_column=item_column,
        item_feature=item,
        raw_features=tuple(raw),
        features=tuple(features),
    )


def _check_outputs(shape: ModelShape, fitted: nvt.Workflow) -> None:
    """Raises CheckpointError where the workflow does not give what the model reads, with as many codes as it has rows."""
    output: Any = fitted.output_schema
    returned = output.column_names
    missing = [name for name in (*shape.categorical, *shape.numbers) if name not in returned]
    if missing:
        raise CheckpointError(
            f"The model reads {', '.join(missing)}, which the workflow does not return; it returns {', '.join(returned)}. "
            "Give the workflow whose output the model was trained on."
        )
    for place, name in enumerate(shape.categorical):
        rows = len(shape.loads[f"inputs.embeddings.{place}.weight"])
        domain = output[name].properties.get("domain", {})
        codes = int(domain.get("max", -2)) + 1
        if codes != rows:
            raise CheckpointError(
                f"The model embeds {rows} codes of '{name}', the workflow gives {max(codes, 0)}: give the workflow whose "
                "output the model was trained on."
            )


def _config(shape: ModelShape, schema: SessionSchema, fitted: nvt.Workflow, told: Told) -> Config:
    sources = [source(fitted, name, encoded=True) for name in shape.categorical]
    sources += [source(fitted, name) for name in shape.numbers]
    check_combination(shape.body.name, told.objective)
    return Config(
        data=DataConfig(
            session_column=schema.session_column,
            item_column=schema.item_column,
            time_column=schema.time_column,
            tie_breaker_column=schema.tie_breaker_column or DataConfig.tie_breaker_column,
            window=schema.window,
        ),
        inputs=InputsConfig(aggregation=shape.aggregation),
        model=ModelConfig(
            body=shape.body.name,
            pretraining=told.objective,
            d_model=shape.body.d_model,
            layers=shape.body.layers,
            heads=shape.body.heads,
            layer_norm_eps=told.layer_norm_eps or LAYER_NORM_EPS[shape.body.name],
            temperature=told.temperature,
            compat=told.compat,
        ),
        imported=replace(shape.imported, columns=tuple(sources)),
    )


def _model(shape: ModelShape, weights: Weights, config: Config, schema: SessionSchema) -> SessionModel:
    """The model with its weights. Raises CheckpointError where one is left over, is missing or has another shape."""
    model = SessionModel.of(config, schema)
    loads = {f"body.{name}": weight for name, weight in body_weights(weights, shape.transformer, model.body).items()}
    left = list(weights.unread())
    if left:
        more = f" and {len(left) - 10} more" if len(left) > 10 else ""
        raise CheckpointError(
            f"The state dict holds what cannot be taken over: {', '.join(left[:10])}{more}. Export the model where "
            "Transformers4Rec is installed, by nextitem_export.adapters.from_transformers4rec."
        )
    loads |= shape.loads
    state = model.state_dict()
    if "objective.placeholder" not in state:
        del loads["objective.placeholder"]  # nothing is hidden by it
    try:
        model.load_state_dict(state | loads)
    except RuntimeError as error:
        raise CheckpointError(f"The state dict does not fit the shape that it was read to have: {error}.") from error
    lacking = [name for name in state if name not in loads and not name.startswith("criterion.")]
    if lacking:
        raise CheckpointError(f"The state dict has no weights for {', '.join(lacking)}.")
    return model.eval()


def _metrics(
    model: SessionModel, fitted: nvt.Workflow, schema: SessionSchema, sample: pd.DataFrame
) -> dict[str, dict[str, float]]:
    """Ranks of the last interaction of each of the sample's sessions, given those before it."""
    assert fitted.output_schema is not None, "a fitted workflow has it"
    if schema.session_column not in fitted.output_schema.column_names:
        return {}
    rows: Any = sample
    if schema.tie_breaker_column:
        rows = sample.assign(**{schema.tie_breaker_column: np.arange(len(sample), dtype=np.int64)})
    encoded = workflow.encode(fitted, rows, schema)
    counts = workflow.vocabulary(fitted, source(fitted, schema.item_feature, encoded=True)).counts
    questions = last_of_each(encoded, schema.item_feature)
    if not len(questions):
        return {}
    ranks = {
        MODEL: model_ranks(model, encoded.features, counts, questions, progress="evaluation"),
        POPULARITY: popularity_ranks(counts, questions),
    }
    return {name: metrics_of(found) for name, found in ranks.items()}
