"""Whole workflows: random ones on random tables, and the demo's, against `workflow.transform`."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nvtabular import ops

from export.tests.support.harness import KEPT, Harness, fit, interactions, split
from nextitem_training.config import read_config
from nextitem_training.interactions import read_interactions
from nextitem_training.workflow import fit as fit_training

DEMO = Path(__file__).parents[3] / "demo"


def _elementwise(function, **settings):
    return lambda _: ops.LambdaOp(function, **settings)


def _relative(column, frame):
    return (column - frame["count"]) / (frame["price"].fillna(0) + 100)


#: Operators that may follow each other on a column of numbers, made for a folder in which they may write.
NUMBERS = {
    "fill": lambda _: ops.FillMissing(fill_val=2),
    "median": lambda _: ops.FillMedian(),
    "clip": lambda _: ops.Clip(min_value=-1, max_value=6),
    "log": lambda _: ops.LogOp(),
    "normalize": lambda _: ops.Normalize(),
    "normalize32": lambda _: ops.Normalize(out_dtype=np.float32),
    "minmax": lambda _: ops.NormalizeMinMax(),
    "half": _elementwise(lambda c: c / 2 - 1),
    "floor": _elementwise(lambda c: c // 3),
    "rest": _elementwise(lambda c: (c + 1) % 2.5),
    "where": _elementwise(lambda c: np.where(c > 1, c, 1 - c)),
    "missing": _elementwise(lambda c: c.isna().astype("int64")),
    "filled": _elementwise(lambda c: c.fillna(-1).clip(-2, 2)),
    "sign": _elementwise(lambda c: np.sign(c) * np.sqrt(np.abs(c))),
    "relative": _elementwise(_relative, dependency=["count", "price"]),
}
#: The last of a chain of numbers, where there is one.
BUCKETS = {"buckets": lambda name: ops.Bucketize({name: [-1.0, 0.0, 0.5, 3.0]})}

#: Functions of the moment, each followed by any of the second kind.
CALENDAR = {
    "weekday": lambda c: c.dt.weekday,
    "hour": lambda c: c.dt.hour,
    "month": lambda c: c.dt.month,
    "seconds": lambda c: (c - pd.Timestamp("2020-09-01")).dt.total_seconds(),
    "days": lambda c: (c - np.datetime64("2020-09-01")) // np.timedelta64(1, "D"),
    "weekend": lambda c: c.dt.weekday.isin([5, 6]).astype("int64"),
}
CYCLES = {
    "as it is": lambda c: c,
    "sine": lambda c: np.sin(2 * np.pi * c / 7),
    "some": lambda c: np.where(c.isin([0, 1, 3]), c + 0.5, 0),
    "root": lambda c: np.sqrt(np.abs(c)).astype("float32"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A random workflow. codes: the columns that Categorify encodes; the others are names of the tables above."""

    seed: int
    text_items: bool
    codes: tuple[str, ...]
    price: tuple[str, ...]
    count: tuple[str, ...]
    moment: tuple[str, str]
    coded_moment: bool
    aggregations: tuple[str, ...]
    window: int
    sliced: bool
    filtered: bool


CHAINS = st.lists(st.sampled_from(sorted(NUMBERS)), max_size=3).map(tuple)
RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 2**32 - 1),
    text_items=st.booleans(),
    codes=st.sets(st.sampled_from(["brand", "shelf"])).map(sorted).map(tuple),
    price=st.tuples(CHAINS, st.sampled_from([(), ("buckets",)])).map(lambda parts: parts[0] + parts[1]),
    count=st.tuples(CHAINS, st.sampled_from([(), ("buckets",)])).map(lambda parts: parts[0] + parts[1]),
    moment=st.tuples(st.sampled_from(sorted(CALENDAR)), st.sampled_from(sorted(CYCLES))),
    coded_moment=st.booleans(),
    aggregations=st.sets(st.sampled_from(["count", "sum", "mean", "min", "max", "first", "last"])).map(sorted).map(tuple),
    window=st.integers(1, 5),
    sliced=st.booleans(),
    filtered=st.booleans(),
)  # fmt: skip


def table(recipe: Recipe, seed: int, *, serving: bool) -> pd.DataFrame:
    """Random sessions of up to three windows, with nulls, ties in time and, at serving, values that are new."""
    random = np.random.default_rng([recipe.seed, seed])
    lengths = random.integers(0, 3 * recipe.window + 1, 12)
    lengths[0] = 3
    frame = interactions(lengths)
    rows = len(frame)
    item = random.integers(0, 30 if serving else 20, rows)
    brands = np.array(["a", "ü", "c", None, *(["never", "seen"] if serving else [])], dtype=object)
    return frame.assign(
        timestamp=pd.to_datetime(1_600_000_000 + 60 * random.integers(0, 9, rows), unit="s"),
        item=[f"i{i}" for i in item] if recipe.text_items else item * 7 + 2**60 + 1,
        brand=brands[random.integers(0, len(brands), rows)],
        shelf=random.integers(-3, 5 if serving else 3, rows).astype(np.int32),
        price=np.where(random.random(rows) < 0.2, np.nan, random.normal(2, 4, rows)).astype(np.float32),
        count=random.integers(-4, 12, rows),
        moment=pd.to_datetime(random.integers(1_000_000_000, 1_800_000_000, rows), unit="s"),
    )


def graph(recipe: Recipe, folder: str):
    """The output node of the recipe's workflow."""
    columns = ["item", *recipe.codes] >> ops.Categorify(out_path=folder)
    names = ["item", *recipe.codes]
    for name, chain in (("price", recipe.price), ("count", recipe.count)):
        node = [name] >> ops.Rename(postfix="_made")
        for step in chain:
            node = node >> {**NUMBERS, **BUCKETS}[step](f"{name}_made")
        columns = columns + node
        names.append(f"{name}_made")
    field, cycle = recipe.moment
    moment = ["moment"] >> ops.LambdaOp(CALENDAR[field]) >> ops.Rename(name="part")
    if recipe.coded_moment and field not in ("seconds", "days"):
        columns = columns + (moment >> ops.Categorify(out_path=folder))
        names.append("part")
    columns = columns + (moment >> ops.LambdaOp(CYCLES[cycle]) >> ops.Rename(name="cycle"))
    names.append("cycle")
    aggregations = {name: ["list"] for name in names}
    aggregations["count_made"] = ["list", *recipe.aggregations]
    grouped = columns + KEPT >> ops.Groupby(groupby_cols=["session_id"], sort_cols=KEPT[1:], aggs=aggregations)
    lists = grouped[[f"{name}_list" for name in names]]
    output = lists >> ops.ListSlice(-recipe.window) if recipe.sliced else lists
    output = output + grouped["session_id"]
    return output >> ops.Filter(f=lambda df: df["session_id"] >= 0) if recipe.filtered else output


def holds(recipe: Recipe) -> None:
    """The compiled workflow equals NVTabular on the training's table and on others."""
    with tempfile.TemporaryDirectory() as folder:
        frame = table(recipe, 0, serving=False)
        harness = Harness(fit(graph(recipe, folder), frame), window=recipe.window)
        same_dtypes(harness)
        harness.check(frame, batches=(64,))
        for seed in (1, 2):
            harness.check(table(recipe, seed, serving=True), batches=(64,))
        harness.check(table(recipe, 3, serving=True), batches=(1,))


def same_dtypes(harness: Harness) -> None:
    """What each column is compiled as is what pandas had at fit, where it is not a float because of null."""
    for name, column in harness.compiled.columns.items():
        had = harness.fitted.outputs[name].dtype
        assert had == column.dtype or (had == "float64" and not column.dtype.startswith("float")), name


WHOLE = {"derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=5, **WHOLE)
@given(RECIPES)
def test_random_workflows_equal_nvtabular(recipe):
    holds(recipe)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(RECIPES)
def test_many_random_workflows_equal_nvtabular(recipe):
    """Other ones each time. Takes about five minutes."""
    holds(recipe)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's workflow, fitted as training fits it, and the clicks."""
    data = dataclasses.replace(read_config(DEMO / "config.toml").data, tie_breaker_column="position")
    frame, dtypes = read_interactions(DEMO / "clicks.parquet", data)
    frame = frame[frame["session_id"] < 6_000]  # a quarter
    workflow = fit_training(frame, data, tmp_path_factory.mktemp("demo")).served
    pinned = {name: dtype for name, dtype in dtypes.items() if name in workflow.input_schema.column_names}
    return Harness(workflow, window=data.window, raw_dtypes=pinned), frame


def recombined(frame: pd.DataFrame, sessions: int, seed: int) -> pd.DataFrame:
    """Sessions of 1 to 60 clicks that nobody made: any clicks in any order, some values null or never seen."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 61, sessions)
    rows = frame.iloc[random.integers(0, len(frame), lengths.sum())].reset_index(drop=True)
    rows["session_id"] = np.repeat(np.arange(sessions), lengths)
    rows["position"] = np.arange(len(rows))
    for name in ("item_id", "category", "colour", "location", "photography"):
        rows[name] = rows[name].mask(random.random(len(rows)) < 0.05, "never seen")
        rows[name] = rows[name].mask(random.random(len(rows)) < 0.05)
    rows["price"] = rows["price"].mask(random.random(len(rows)) < 0.1)
    rows["country"] = rows["country"].mask(random.random(len(rows)) < 0.05, 10**12)
    return rows


def equal_in_batches(harness: Harness, tables, sessions: int) -> None:
    """Every session of the tables, numpy and ONNX, each table as one request."""
    done = 0
    for seed, rows in enumerate(tables):
        batch = split(rows)
        expected = harness.reference(rows, batch)
        for name, values in harness.answers(batch).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-6, atol=0, err_msg=f"{name}, table {seed}")
        done += len(batch)
    assert done == sessions


def test_the_demos_workflow(demo):
    harness, frame = demo
    harness.check(frame[frame.session_id < 40], batches=(1, 64))
    equal_in_batches(harness, [recombined(frame, 300, 0)], 300)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_hundred_thousand_sessions_through_the_demos_workflow(demo):
    """Without one mismatch, in the numpy form and as ONNX. Takes about three minutes on two cores."""
    harness, frame = demo
    equal_in_batches(harness, (recombined(frame, 1_000, seed) for seed in range(100)), 100_000)
