"""Joins and features on the session column: what a request does not carry."""

from __future__ import annotations

import warnings

import nvtabular as nvt
import pandas as pd
import pytest
from nvtabular import ops

from nextitem_export import ExportOptions, ParityError, ParityWarning, UnsupportedWorkflow, export_bundle

FEATURES = ("item_id-list", "category-list", "price-list")
KEYS = ["session_id", "timestamp", "position"]
NAMES = {"int": lambda ids: ids + 1000, "str": lambda ids: "s" + ids.astype(str)}
#: Ids that no table is compiled by, since their equality depends on the last bit.
MORE = {"float": lambda ids: ids + 0.5, "date": lambda ids: pd.to_datetime(ids, unit="D")}


class ByAge(ops.Operator):
    """An operator of one's own, which does not say that it reads the session's id."""

    def transform(self, col_selector, df):
        return df.assign(price=df["price"] * (1 + df["session_id"].astype(str).str[-1:].astype(int)))


@pytest.fixture
def joined(frame, shop, tmp_path):
    """A shop with a left join on the session column, whose `age` the model may read."""

    def make(ids: str = "int", *, own: bool = False, sort=("timestamp", "position"), how: str = "left"):
        table = frame.assign(session_id=(NAMES | MORE)[ids](frame["session_id"]))
        users = pd.DataFrame({"session_id": table["session_id"].unique()})
        users["age"] = users.index % 7
        keys = [*KEYS, "price"] >> ops.JoinExternal(users, on="session_id", how=how)
        codes = ["item_id", "category"] >> ops.Categorify(dtype="int64", out_path=str(tmp_path / "codes"))
        age = keys["age"] >> ops.Categorify(dtype="int64", out_path=str(tmp_path / "age"))
        price = keys["price", "session_id"] >> ByAge() if own else keys["price"]
        price = (price["price"] if own else price) >> ops.Normalize() >> ops.FillMissing(0)
        names = ("item_id", "category", "price", "age")
        grouped = codes + price + age + keys[KEYS] >> ops.Groupby(
            groupby_cols=["session_id"], sort_cols=list(sort), aggs={name: ["list"] for name in names}, name_sep="-"
        )
        lists = grouped[[f"{name}-list" for name in names]] >> ops.ListSlice(-shop.WINDOW)
        workflow = nvt.Workflow(lists + grouped["session_id"])
        workflow.fit(nvt.Dataset(table))
        return workflow, table[table["session_id"].isin(table["session_id"].unique()[:4])]

    return make


@pytest.fixture
def export(shop, tmp_path):
    def export(workflow, rows, form: str, **changes):
        arguments = {"repository": tmp_path / "repository", "name": "shop", "tie_breaker_column": "position"}
        options = ExportOptions(features=form)
        return export_bundle(shop.model_for(workflow), workflow, rows, options=options, **(arguments | changes))

    return export


@pytest.mark.parametrize(
    ("ids", "form"),
    [
        ("str", "compiled"),
        pytest.param("date", "nvtabular", marks=pytest.mark.slow),
        pytest.param("int", "compiled", marks=pytest.mark.slow),
        *(pytest.param(ids, "nvtabular", marks=pytest.mark.slow) for ids in ("int", "str", "float")),
    ],
)
def test_a_join_on_the_session_column_that_the_model_does_not_read_stops_nothing(joined, export, ids, form):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ParityWarning)
        bundle = export(*joined(ids), form)
    assert bundle.warnings == ()
    assert [report.case for report in bundle.parity if report.judged != 4] == []


@pytest.mark.parametrize("ids", NAMES)
@pytest.mark.parametrize("form", ["compiled", "nvtabular"])
def test_a_feature_made_from_the_session_column_is_refused_with_the_remedy(joined, export, ids, form, tmp_path):
    with pytest.raises(UnsupportedWorkflow) as caught:
        export(*joined(ids), form, features=(*FEATURES, "age-list"))
    assert str(caught.value).startswith("the workflow's output 'age-list' is made from the session column 'session_id'")
    assert "join or compute it before fitting" in str(caught.value)
    assert not (tmp_path / "repository").exists()


def test_an_operator_that_reads_the_session_s_id_unseen_is_found_by_the_gate(joined, export, tmp_path):
    with pytest.raises(ParityError) as caught:
        export(*joined(own=True), "nvtabular")
    assert str(caught.value).startswith("feature 'price-list' of session ")
    assert "NVTabular's value depends on the session's id, which no request carries" in str(caught.value)
    assert not list((tmp_path / "repository").iterdir())


@pytest.mark.parametrize("form", ["compiled", pytest.param("nvtabular", marks=pytest.mark.slow)])
def test_sessions_may_be_sorted_by_their_id_and_the_time(joined, export, form):
    bundle = export(*joined(sort=("session_id", "timestamp", "position")), form)
    assert min(report.judged for report in bundle.parity) == 4


@pytest.mark.parametrize("form", ["compiled", "nvtabular"])
def test_a_feature_made_from_the_tie_breaker_is_refused_with_the_remedy(frame, export, form, tmp_path):
    codes = ["item_id", "category"] >> ops.Categorify(dtype="int64", out_path=str(tmp_path / "codes"))
    keys = [*KEYS, "price"]
    grouped = codes + keys >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=KEYS[1:],
        aggs={name: ["list"] for name in ("item_id", "category", "price", "position")},
        name_sep="-",
    )
    workflow = nvt.Workflow(grouped[[*FEATURES, "position-list"]] >> ops.ListSlice(-4))
    workflow.fit(nvt.Dataset(frame))
    with pytest.raises(UnsupportedWorkflow) as caught:
        export(workflow, frame[frame["session_id"] < 4], form, features=(*FEATURES, "position-list"))
    assert "output 'position-list' is made from the tie-breaker column 'position', which no request" in str(
        caught.value
    )
    assert "copy it to a column of another name before fitting" in str(caught.value)


def test_a_sample_of_which_nvtabular_answers_nothing_is_an_error_with_its_exception(
    export, shop, workflow, sample, tmp_path
):
    rows = sample.assign(category=float("nan"))
    with pytest.raises(ParityError) as caught:
        export(workflow, rows, "compiled", raw_dtypes={"category": "int64"})
    assert "NVTabular has an answer for none of the 8 sessions of the sample" in str(caught.value)
    assert "NVTabular raises " in str(caught.value)
    assert "Give a sample that workflow.transform answers. The bundle was not written" in str(caught.value)
    assert not list((tmp_path / "repository").iterdir())


def test_a_sample_of_which_nvtabular_answers_less_than_half_is_a_warning(export, shop, workflow, sample):
    rows = sample.assign(category=sample["category"].where(sample["session_id"] < 3))
    with pytest.warns(ParityWarning) as caught:
        bundle = export(workflow, rows, "compiled", raw_dtypes={"category": "int64"})
    (sentence,) = bundle.warnings
    assert [str(warning.message) for warning in caught if warning.category is ParityWarning] == [sentence]
    assert sentence.startswith("NVTabular has an answer for 3 of the 8 sessions in case 'the sample'")
    assert "Of most of them: NVTabular raises " in sentence
    assert "reason" not in bundle.manifest.read_text()
