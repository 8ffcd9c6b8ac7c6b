"""The workflows that `python -m benchmarks.features` times, each fitted, compiled and written in both backends."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import nvtabular as nvt
import pandas as pd
from nvtabular import ops

from benchmarks.support.own_process import ROOT
from nextitem_bundle.runtime.graphs.onnx import OnnxStep
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.request import read_request
from nextitem_bundle.runtime.signature import Feature, Signature
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import read_step
from nextitem_export.graphs.features import write_compiled
from nextitem_export.wire import raw_feature, request_tensors
from nextitem_export.workflow.backend_choice import NUMPY, ONNX, BackendChoice
from nextitem_export.workflow.compile import CompiledWorkflow, compile_workflow
from nextitem_export.workflow.schedule import FeatureOutput
from nextitem_training import workflow as training_workflow
from nextitem_training.config import read_config
from nextitem_training.interactions import read_interactions

WINDOW = 20
SESSION, TIME, TIE = "session_id", "timestamp", "row_position"
KEPT = [SESSION, TIME, TIE]

Calls = list[Callable[[], Any]]


@dataclasses.dataclass(frozen=True)
class Case:
    """One workflow: fitted, its step in both backends, and raw sessions to ask.

    suffix: what its metrics' names end with. steps: each backend's folder. served: the backend that an export would choose.
    outputs: the workflow's output behind each of the step's tensors. codes: the tensor with the encoded items. sessions: raw
    rows with all columns of the workflow.
    """

    suffix: str
    title: str
    workflow: nvt.Workflow
    steps: dict[str, Path]
    served: str
    outputs: tuple[FeatureOutput, ...]
    codes: str
    compiled: CompiledWorkflow
    raw: tuple[Feature, ...]
    sessions: tuple[pd.DataFrame, ...]

    def ways(self, batch: int, requests: int) -> dict[str, Calls]:
        """Ways to encode sessions in batches of this size: `requests` calls each, all ways the same sessions."""
        steps = {backend: open_step(folder) for backend, folder in self.steps.items()}
        settings = read_step(self.steps[ONNX])
        signature, graph = settings.signature, OnnxStep(self.steps[ONNX], settings.graph)
        ways: dict[str, Calls] = {name: [] for name in ("compiled", "graph", "numpy", "nvtabular", "nvtabular_dataset")}
        for number in range(requests):
            chosen = [self.sessions[(number * batch + row) % len(self.sessions)] for row in range(batch)]
            tensors = request_tensors(chosen, self.raw)
            checked = read_request(tensors, signature).tensors(settings.newest.window)
            frame = pd.concat(chosen).reset_index(drop=True)
            if number == 0:
                self._must_agree(frame, [steps[backend].run(tensors) for backend in steps])
            ways["compiled"].append(lambda tensors=tensors: steps[ONNX].run(tensors))
            ways["graph"].append(lambda checked=checked: graph.run(checked))
            ways["numpy"].append(lambda tensors=tensors: steps[NUMPY].run(tensors))
            ways["nvtabular"].append(lambda frame=frame: self.workflow.transform(frame))
            ways["nvtabular_dataset"].append(lambda frame=frame: _by_dataset(self.workflow, frame))
        return ways

    def _must_agree(self, frame: pd.DataFrame, answers: Sequence[dict[str, np.ndarray]]) -> None:
        """Raises AssertionError where the backends and NVTabular differ: a wrong answer's time says nothing."""
        table = self.workflow.transform(frame)
        for answer in answers:
            for output in self.outputs:
                expected = np.zeros((len(table), WINDOW), dtype=output.dtype)
                for row, values in enumerate(table[output.column]):
                    expected[row, : len(values)] = values
                np.testing.assert_allclose(answer[output.tensor], expected, rtol=1e-5, atol=1e-6, err_msg=output.column)

    def request_json(self) -> str:
        """One session as open_step.py reads it."""
        tensors = request_tensors(self.sessions[:1], self.raw)
        values = {
            name: [[v.decode() if isinstance(v, bytes) else v for v in row] for row in tensor.tolist()]
            for name, tensor in tensors.items()
        }
        return json.dumps(values)


def _by_dataset(workflow: nvt.Workflow, frame: pd.DataFrame) -> pd.DataFrame:
    return workflow.transform(nvt.Dataset(frame, cpu=True)).to_ddf().compute(scheduler="synchronous")


def demo(folder: Path, sessions_at_most: int | None = None) -> Case:
    """The demo's workflow, fitted on the demo's clicks (or some sessions of them), asked its newest sessions."""
    data = read_config(ROOT / "demo" / "config.toml").data
    frame, dtypes = read_interactions(ROOT / "demo" / "clicks.parquet", data)
    if sessions_at_most is not None:
        of_rows = frame.loc[:, data.session_column]
        frame = frame.loc[of_rows.isin(of_rows.unique()[:sessions_at_most])]
    fitted = training_workflow.fit(frame, data, _made(folder / "fitted")).served
    schema = training_workflow.describe(fitted, data, dtypes)
    outputs = [FeatureOutput(f.name, f"feature_{i}", f.dtype) for i, f in enumerate(schema.features)]
    codes = next(output.tensor for output in outputs if output.column == schema.item_feature)
    starts = cast("pd.Series", frame.groupby(data.session_column, sort=False)[data.time_column].transform("min"))
    newest = starts.nlargest(2_000).index
    sessions = [rows for _, rows in frame.loc[newest.sort_values()].groupby(data.session_column, sort=False)]
    return _case("", "the demo's workflow, 9 features", fitted, schema.raw_dtypes, outputs, codes, sessions, folder)


def vocabulary(folder: Path, suffix: str, title: str, ids: pd.Series) -> Case:
    """One item column of this vocabulary and the time; sessions of 1 to 15 items, a tenth of them unknown."""
    items = ["item_id"] >> ops.Categorify(vocabs={"item_id": ids}, out_path=str(_made(folder / "fitted")))
    grouped = items + KEPT >> ops.Groupby(
        groupby_cols=SESSION, sort_cols=[TIME, TIE], aggs=cast("Any", {"item_id": ["list"]})
    )
    frame = _sessions_of(ids)
    fitted = nvt.Workflow(grouped[["item_id_list"]] >> ops.ListSlice(-WINDOW))
    fitted.fit(nvt.Dataset(frame, npartitions=1, cpu=True))
    dtypes = {"item_id": "string" if ids.dtype == object else "int64", TIME: "datetime"}
    outputs = [FeatureOutput("item_id_list", "feature_0", "int64")]
    sessions = [rows for _, rows in frame.groupby(SESSION)]
    return _case(f"_vocab_{suffix}", title, fitted, dtypes, outputs, "feature_0", sessions, folder)


def _sessions_of(ids: pd.Series) -> pd.DataFrame:
    random = np.random.default_rng(7)
    lengths = random.integers(1, 16, 256)
    items = ids.iloc[random.integers(0, len(ids), lengths.sum())].to_numpy(copy=True)
    unknown = random.random(len(items)) < 0.1
    items[unknown] = (
        [f"unknown-{i}" for i in range(unknown.sum())] if ids.dtype == object else -1 - np.arange(unknown.sum())
    )
    return pd.DataFrame(
        {
            SESSION: np.repeat(np.arange(len(lengths)), lengths),
            "item_id": items,
            TIME: pd.to_datetime(1_700_000_000 + np.arange(len(items)), unit="s"),
            TIE: np.arange(len(items)),
        }
    )


def _case(
    suffix: str,
    title: str,
    fitted: nvt.Workflow,
    dtypes: dict[str, str],
    outputs: list[FeatureOutput],
    codes: str,
    sessions: list[pd.DataFrame],
    folder: Path,
) -> Case:
    compiled = compile_workflow(fitted, dtypes, outputs, session_column=SESSION, tie_breaker_column=TIE, window=WINDOW)
    raw = tuple(raw_feature(name, dtype) for name, dtype in dtypes.items())
    steps = {backend: _write(compiled, backend, raw, codes, _made(folder / backend)) for backend in (ONNX, NUMPY)}
    served = compiled.backend.name
    return Case(suffix, title, fitted, steps, served, tuple(outputs), codes, compiled, raw, tuple(sessions))


def _write(compiled: CompiledWorkflow, backend: str, raw: tuple[Feature, ...], codes: str, folder: Path) -> Path:
    signature = Signature(
        bundle_version=1,
        window=WINDOW,
        item_column="item_id",
        features=raw,
        top_k_default=20,
        top_k_limit=100,
        max_sessions_per_request=64,
        max_interactions_per_session=10_000,
        max_id_bytes=1_024,
        max_filter_ids=16_384,
        options=("session_length", "top_k"),
    )
    filters = (f"excluded__{len(compiled.outputs)}", f"allowed__{len(compiled.outputs) + 1}")
    write_compiled(compiled, signature, filters, codes, folder, BackendChoice(backend))
    # No request here has filters, so the index of items, which is mapped from disk, is never read.
    ItemIndex.of(np.array(["none"], dtype=object)).save(folder)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
