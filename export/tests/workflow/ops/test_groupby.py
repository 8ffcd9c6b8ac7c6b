from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ColumnSelector, ops

from export.tests.support.harness import Harness, asks_nvtabular, drawn, fit, interactions, lower, split
from nextitem_export import UnsupportedWorkflow
from nextitem_export.workflow.emit_onnx import emit_onnx
from nextitem_export.workflow.expressions import LIST, Column, cast, null_of, raw, where
from nextitem_export.workflow.lower import lower_workflow
from nextitem_export.workflow.registry import Context
from nextitem_export.workflow.schedule import FeatureOutput, schedule

FRAME = interactions(
    [4, 3, 2],
    price=np.array([1.5, np.nan, 20, -3, np.nan, np.nan, np.nan, 0, 0.25], dtype=np.float32),
    cost=[1.5, 0.5, 20, -3, 7, 8, 9, 0, 0.25],
    number=[0, 1, 2, 3, 4, 5, -6, 20, 8],
    at=np.arange(9)[::-1] * 0.5,
)
PRICES = st.none() | st.sampled_from([0.0, 1.5, -3.0, 1e10])
SCALARS = ["count", "sum", "mean", "min", "max", "first", "last"]


def grouping(names: list[str], aggs: Any, **options: Any) -> Any:
    kept = ["session_id", "timestamp", "position", "at"]
    columns = [*names, *(name for name in kept if name not in names)]
    return ColumnSelector(columns) >> ops.Groupby(groupby_cols=["session_id"], aggs=aggs, **options)


@pytest.fixture(scope="module")
def by_time() -> Harness:
    grouped = grouping(["price", "number"], {"price": "list", "number": list}, sort_cols=["timestamp", "position"])
    return Harness(fit(grouped[["price_list", "number_list"]], FRAME))


@asks_nvtabular
@given(frame=drawn(price=PRICES, number=st.integers(-(2**62), 2**62)))
def test_lists_are_sorted_stably_and_hold_the_newest(by_time, frame):
    by_time.check(frame.assign(at=0.0))


@asks_nvtabular
@given(frame=drawn(price=PRICES, number=st.integers(0, 2), at=st.sampled_from([0.0, -1.0, 2.5])))
def test_several_sort_columns_of_several_types(by_number, frame):
    by_number.check(frame)


@pytest.fixture(scope="module")
def by_number() -> Harness:
    grouped = grouping(["price", "number"], {"price": "list"}, sort_cols=["number", "at", "position"])
    return Harness(fit(grouped[["price_list"]], FRAME))


def test_null_sorts_last():
    grouped = grouping(["number"], {"number": "list"}, sort_cols=["at", "position"])
    harness = Harness(fit(grouped[["number_list"]], FRAME))
    harness.check(FRAME.assign(at=[np.nan, 1, 2, 0, 1, np.nan, 1, np.nan, np.nan]))


def test_without_sorting_lists_are_as_they_were_sent():
    grouped = grouping(["number"], {"number": ["list"]}, name_sep="-")
    harness = Harness(fit(grouped[["number-list"]], FRAME))
    harness.check(FRAME.iloc[::-1].reset_index(drop=True))


def test_session_level_outputs_stand_beside_lists_but_are_no_features():
    aggs = {"price": ["list", *SCALARS], "number": ["list", "count"], "timestamp": ["first", "last"]}
    grouped = grouping(["price", "number"], aggs, sort_cols=["timestamp", "position"], name_sep="/")
    workflow = fit(grouped, FRAME)
    harness = Harness(workflow)
    assert [output.column for output in harness.outputs] == ["price/list", "number/list"]
    harness.check(FRAME)
    with pytest.raises(
        UnsupportedWorkflow, match=r"'price/mean' has one value per session, expected a list: leave it out"
    ):
        _compile_scalar(harness, workflow, "price/mean")


def _compile_scalar(harness: Harness, workflow: Any, name: str) -> None:
    lowered = lower_workflow(workflow, harness.raw_dtypes, Context("session_id", "position"))
    schedule(lowered.table, [FeatureOutput(name, "feature", "float32")], 4)


@pytest.mark.parametrize("name", ["price", "cost", "number"])
@pytest.mark.parametrize("kind", SCALARS)
def test_session_level_numbers(kind, name):
    grouped = grouping([name], {name: [kind]}, sort_cols=["timestamp", "position"])
    workflow = fit(
        grouped[["session_id", f"{name}_{kind}"]] + grouping([name], {name: ["list"]})[[f"{name}_list"]], FRAME
    )
    dtypes = {"timestamp": "datetime", name: str(FRAME[name].dtype), "at": "float64"}
    column = lower_workflow(workflow, dtypes, Context("session_id", "position")).table[f"{name}_{kind}"]
    expected = workflow.transform(FRAME.copy())[f"{name}_{kind}"]
    # Spread over the interactions, which is how a session's number reaches a feature.
    null = null_of(raw("timestamp", "int64"))
    spread = Column(cast(where(null, column.expr, column.expr), "float32"), LIST, "float32")
    program = schedule({"spread": spread}, [FeatureOutput("spread", "feature", "float32")], 4)
    tensors = _tensors(name)
    computed = program.run(tensors)["feature"]
    np.testing.assert_allclose(computed[:, 0], expected.astype(np.float32), rtol=1e-6)
    np.testing.assert_allclose(_emitted(program, tensors), computed, rtol=1e-6)


def _tensors(name: str) -> dict[str, np.ndarray]:
    sessions = split(FRAME)
    tensors = {"session_length": np.array([[len(session)] for session in sessions])}
    for column in ("timestamp", name):
        dtype = np.float32 if FRAME[column].dtype.kind == "f" else np.int64
        tensors[column] = np.full((len(sessions), 6), 99, dtype=dtype)
        for row, session in enumerate(sessions):
            tensors[column][row, : len(session)] = session[column].to_numpy().astype(dtype)
    return tensors


def _emitted(program: Any, tensors: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(emit_onnx(program, 4).SerializeToString())
    return session.run(None, {node.name: tensors[node.name] for node in session.get_inputs()})[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groupby_cols": ["number"]}, "Groupby on 'number'.*expected the session column 'session_id'"),
        ({"sort_cols": ["number"], "ascending": False}, "Groupby on 'number'.*ascending=False puts the newest first"),
        ({"aggs": {"number": ["median"]}}, "Groupby on 'number'.*aggregation 'median' is not compiled: use count"),
    ],
    ids=["another key", "descending", "median"],
)
def test_refused(options, message):
    with pytest.raises(UnsupportedWorkflow, match=message):
        lower(ops.Groupby(**{"groupby_cols": ["session_id"], **options}), ["session_id", "number"], level="interaction")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sort_cols": ["word"]}, "Groupby on 'word'.*sorts by strings: sort by a date-time or a number"),
        ({"aggs": {"word": ["max"]}}, "Groupby on 'word'.*'max' of strings is not compiled: aggregate a number"),
    ],
    ids=["sort", "max"],
)
def test_strings_that_are_refused(options, message):
    operator = ops.Groupby(**{"groupby_cols": ["session_id"], **options})
    with pytest.raises(UnsupportedWorkflow, match=message):
        lower(operator, ["session_id", "word"], level="interaction", dtype="string")
