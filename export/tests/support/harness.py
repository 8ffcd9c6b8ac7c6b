"""Holds a compiled workflow, in numpy and as ONNX, to what NVTabular's own `workflow.transform` gives.

    harness = Harness(fit(lists(["item"] >> ops.Categorify(out_path=…), ["item"]), frame))
    harness.check(frame)  # or any other raw interactions with these columns

A frame of raw interactions has session_id, timestamp and position, which breaks ties in time as training does; `interactions`
adds them to columns of values.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import nvtabular as nvt
import onnxruntime
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st
from nvtabular import ops

from nextitem_bundle.runtime.features.nvtabular import serving_form, with_plain_sessions
from nextitem_export.wire import raw_feature, request_tensors
from nextitem_export.workflow.compile import compile_workflow
from nextitem_export.workflow.expressions import Column, raw
from nextitem_export.workflow.fitted import FittedWorkflow
from nextitem_export.workflow.item_probe import quiet
from nextitem_export.workflow.registry import Context, Inputs, lower_operator
from nextitem_export.workflow.schedule import FeatureOutput

WINDOW = 4
KEPT = ["session_id", "timestamp", "position"]
#: What stands in padding, which nobody may read.
GARBAGE = {"string": "garbage", "float": np.float32(np.nan)}

#: For tests each of whose examples asks NVTabular, which takes some forty times as long as what is tested: ten for every day.
asks_nvtabular = settings(max_examples=10) if settings.default.derandomize else settings()

Answers = dict[str, np.ndarray]


def interactions(lengths: Sequence[int], **columns: Any) -> pd.DataFrame:
    """Raw interactions of sessions of these lengths (0 is allowed), in rising time with ties, from columns of values."""
    rows = int(sum(lengths))
    frame = pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(len(lengths)), lengths),
            "timestamp": pd.to_datetime(1_600_000_000 + np.arange(rows) // 2 * 3_601, unit="s"),
            "position": np.arange(rows),
        }
    )
    return frame.assign(**columns)


@st.composite
def drawn(draw: st.DrawFn, **columns: st.SearchStrategy[Any]) -> pd.DataFrame:
    """Raw interactions of a few sessions of up to three windows, ties in time, some columns null throughout a session."""
    lengths = draw(st.lists(st.integers(0, 3 * WINDOW), min_size=1, max_size=5))
    rows = max(1, sum(lengths))
    frame = interactions(lengths if sum(lengths) else [1])
    minutes = draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows))
    frame["timestamp"] = pd.to_datetime(1_600_000_000 + 60 * np.array(minutes), unit="s")
    for name, values in columns.items():
        column = pd.Series(draw(st.lists(values, min_size=rows, max_size=rows)), dtype=object)
        emptied = draw(st.none() | st.sampled_from(sorted(frame.session_id.unique())))
        if emptied is not None and len(column.dropna()) < len(column):  # the strategy has null
            column[frame.session_id.to_numpy() == emptied] = None
        frame[name] = column
    return frame


def lists(columns: Any, names: Sequence[str], *, window: int | None = WINDOW, aggs: Sequence[str] = ("list",)) -> Any:
    """Nodes of interaction-level columns → their lists by session (named `<name>_list`), the newest `window` of them."""
    grouped = columns + KEPT >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=KEPT[1:], aggs={name: list(aggs) for name in names}
    )
    chosen = grouped[[f"{name}_{kind}" for name in names for kind in aggs]]
    return chosen >> ops.ListSlice(-window) if window else chosen


def fit(node: Any, frame: pd.DataFrame) -> nvt.Workflow:
    """A workflow of this output node, fitted; `session_id` is among its outputs where the node has it."""
    workflow = nvt.Workflow(node)
    workflow.fit(nvt.Dataset(frame.reset_index(drop=True), npartitions=1, cpu=True))
    return workflow


def lower(operator: Any, names: Sequence[str], *, level: str = "list", dtype: str = "int64") -> Mapping[str, Any]:
    """What an operator makes of raw columns of this level and dtype, for what NVTabular itself would not fit."""
    table = {name: Column(raw(name, dtype), level, dtype) for name in names}
    return lower_operator(operator, Inputs(nvt.ColumnSelector([*names]), table, Context("session_id", "position")))


class Harness:
    """A fitted workflow, compiled.

    raw_dtypes: pinned dtypes of raw columns. outputs: the list
    outputs that are features, all of them where not given.
    """

    def __init__(
        self,
        workflow: nvt.Workflow,
        *,
        window: int = WINDOW,
        raw_dtypes: Mapping[str, str] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.fitted = FittedWorkflow(workflow)
        self.window = window
        self.raw_dtypes = {
            name: dtype
            for name, dtype in {**self.fitted.raw_columns, **(raw_dtypes or {})}.items()
            if name not in ("session_id", "position")
        }
        self.raw_features = [raw_feature(name, dtype) for name, dtype in self.raw_dtypes.items()]
        self.outputs = [
            FeatureOutput(name, f"feature_{number}", "float32" if column.dtype.startswith("float") else "int64")
            for number, (name, column) in enumerate(self.fitted.outputs.items())
            if outputs is None or name in outputs
        ]
        self.compiled = compile_workflow(
            workflow,
            self.raw_dtypes,
            self.outputs,
            session_column="session_id",
            tie_breaker_column="position",
            window=window,
        )
        self.graph = self.compiled.to_onnx()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.graph.SerializeToString(), options)

    @functools.cached_property
    def _by_raw_session(self) -> nvt.Workflow:
        return with_plain_sessions(self.fitted.workflow)

    def check(self, frame: pd.DataFrame, *, batches: Sequence[int] = (1, 3, 64)) -> None:
        """Compare every session of the frame, with empty ones between, in batches of these sizes and several widths."""
        sessions = split(frame)
        sessions.insert(len(sessions) // 2, frame.iloc[:0])
        expected = self.reference(frame, sessions)
        for size in batches:
            for start in range(0, len(sessions), size):
                batch = slice(start, start + size)
                widest = max(1, *map(len, sessions[batch]))
                for width in {widest, widest + 3}:
                    answers = self.answers(sessions[batch], width=width)
                    self._compare(answers, {name: values[batch] for name, values in expected.items()})

    def answers(self, sessions: Sequence[pd.DataFrame], *, width: int | None = None) -> Answers:
        """Output column → [B, window] of these sessions, by numpy, and the same by ONNX, dtype included."""
        tensors = self.request(sessions, width)
        computed = self.compiled.program.run(tensors)
        wanted = {name: tensors[name] for name in (node.name for node in self.session.get_inputs())}
        emitted = dict(zip((n.name for n in self.session.get_outputs()), self.session.run(None, wanted), strict=True))
        assert list(emitted) == list(computed)
        answers: Answers = {}
        for output in self.outputs:
            numpy_form, onnx_form = computed[output.tensor], emitted[output.tensor]
            assert numpy_form.dtype == onnx_form.dtype == np.dtype(output.dtype), output
            assert numpy_form.shape == onnx_form.shape == (len(sessions), self.window), output
            # The last bit of ONNX Runtime's logarithm differs, and a subtraction may leave nothing but that bit.
            _same(onnx_form, numpy_form, f"{output.column}: ONNX against numpy", atol=1e-6)
            answers[output.column] = numpy_form
        return answers

    def one(self, **columns: Sequence[Any]) -> dict[str, list[Any]]:
        """The outputs of one session of these values, null in all other columns, padding cut off."""
        length = len(next(iter(columns.values())))
        frame = interactions([length])
        unread = {feature.name: [None] * length for feature in self.raw_features if feature.name not in frame}
        for name, values in {**unread, **columns}.items():
            frame[name] = pd.Series(list(values), dtype=object)
        kept = min(length, self.window)
        return {name: values[0, :kept].tolist() for name, values in self.answers([frame]).items()}

    def request(self, sessions: Sequence[pd.DataFrame], width: int | None = None) -> Answers:
        """What a features step hands to the program: strings decoded, garbage in the padding."""
        tensors = request_tensors(sessions, self.raw_features, width=width)
        lengths = tensors["session_length"].astype(np.int64)
        width = tensors[self.raw_features[0].name].shape[1]
        padding = np.arange(width) >= lengths
        for feature in self.raw_features:
            values = tensors[feature.name]
            if feature.kind == "string":
                flat = [value.decode() for value in values.ravel().tolist()]
                values = np.array([*flat, None], dtype=object)[:-1].reshape(values.shape)
            values[padding] = GARBAGE.get(feature.kind, 2**62)
            tensors[feature.name] = values
        return {**tensors, "session_length": lengths}

    def reference(self, frame: pd.DataFrame, sessions: Sequence[pd.DataFrame]) -> Answers:
        """What NVTabular gives, padded to [B, window].

        Where NVTabular raises, on null alone, its operators are asked as `--features nvtabular` asks them.
        """
        typed = frame.reset_index(drop=True).assign(position=np.arange(len(frame)))
        for feature in self.raw_features:
            typed[feature.name] = _as_fitted(typed[feature.name], feature.kind, self.raw_dtypes[feature.name])
        rows = [row for row, session in enumerate(sessions) if len(session)]
        padded: Answers = {}
        table = _transformed(self._by_raw_session, typed) if rows else None
        for output in self.outputs:
            padded[output.column] = np.zeros((len(sessions), self.window), dtype=output.dtype)
            if table is None:
                continue
            assert len(table) == len(rows)
            for row, values in zip(rows, table[output.column], strict=True):
                newest = np.asarray(values, dtype=output.dtype)[-self.window :]
                padded[output.column][row, : len(newest)] = newest
        return padded

    def _compare(self, answers: Answers, expected: Answers) -> None:
        for name, values in answers.items():
            _same(values, expected[name], f"{name}: compiled against NVTabular")


def split(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """One frame a session, in the order of their ids."""
    return [session for _, session in frame.groupby("session_id", sort=True)]


def _same(values: np.ndarray, expected: np.ndarray, message: str, *, atol: float = 0) -> None:
    if values.dtype.kind == "f":
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=atol, err_msg=message)
    else:
        np.testing.assert_array_equal(values, expected, err_msg=message)


def _as_fitted(values: pd.Series, kind: str, dtype: str) -> pd.Series:
    """The column in the dtype it had at fit, or as pandas has it where there is null."""
    null = values.isna()
    if kind in ("string", "boolean") or (kind == "integer" and null.any()):
        exact = kind == "integer" and (null.all() or values[~null].map(lambda value: abs(int(value))).max() <= 2**53)
        if exact:
            return values.astype(object).where(~null, np.nan).astype(np.float64)
        if kind == "boolean" and not null.any():
            return values.astype(bool)
        return values.astype(object).where(~null, None)
    return pd.to_datetime(values) if kind == "datetime" else values.astype(dtype)


def _transformed(workflow: nvt.Workflow, frame: pd.DataFrame) -> pd.DataFrame:
    with quiet():
        try:
            return workflow.transform(frame.copy())
        except Exception:  # noqa: BLE001  NVTabular raises what pandas raised
            return serving_form(workflow).transform(frame)
