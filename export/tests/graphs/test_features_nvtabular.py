from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ops

from export.tests.support.harness import asks_nvtabular
from nextitem_bundle.runtime.features.nvtabular import NvtabularEncoder, _nodes, serving_form
from nextitem_bundle.runtime.request import RequestError
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, NULL, UNKNOWN
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32, NULL_INT64
from nextitem_export.graphs.features import write_features
from nextitem_export.wire import request_tensors

LONG = ops.Filter(f=lambda df: df["item_id-count"] >= 2)
COLUMNS = ["item_id", "timestamp", "category", "price"]


def session(*rows) -> pd.DataFrame:
    """Interactions (item, seconds, category, price)."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s")
    return frame.astype({"price": "float32", "item_id": object})


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    write_features(plan, "nvtabular", folder)
    return folder


@pytest.fixture(scope="module")
def step(folder):
    return open_step(folder)


@pytest.fixture(scope="module")
def step_of(shop, tmp_path_factory):
    """The features step of another shop."""

    def make(workflow, frame, **changes):
        plan = shop.plan_of(workflow, frame, **changes)
        folder = tmp_path_factory.mktemp("features")
        write_features(plan, "nvtabular", folder)
        return open_step(folder), plan

    return make


def encode(step, plan, sessions, **changes):
    encoded = step.run(request_tensors(sessions, plan.raw_features) | changes)
    return {feature.name: encoded[feature.tensor] for feature in plan.features}


def transformed(workflow, plan, sessions):
    """What plain NVTabular gives, padded. An anchor session keeps it from raising on columns of nothing but null."""
    anchor = session(("ø1", 0, 1, 2.0))
    frame = pd.concat([s.assign(session_id=row) for row, s in enumerate([*sessions, anchor])], ignore_index=True)
    table = workflow.transform(frame.assign(position=range(len(frame))))
    window = plan.signature.window
    padded = {f.name: np.zeros((len(sessions), window), dtype=f.dtype) for f in plan.features}
    for name, target in padded.items():
        for row, values in zip(table["session_id"], table[name], strict=True):
            if row < len(sessions):
                target[row, : len(values)] = values
    return padded


def assert_same(served, true):
    for name, values in true.items():
        np.testing.assert_allclose(served[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


rows = st.tuples(
    st.sampled_from(["ø0", "ø1", "ø2", "ø7", "never seen", None]),
    st.integers(0, 3),
    st.sampled_from([0, 1, 4, 99, 2**40]),
    st.sampled_from([0.5, 1.0, 30.0, None]),
)
many_sessions = st.lists(st.lists(rows, max_size=7).map(lambda drawn: session(*drawn)), min_size=1, max_size=4)


@asks_nvtabular
@given(many_sessions)
def test_sessions_are_encoded_as_the_workflow_encodes_them(step, workflow, plan, sessions):
    assert_same(encode(step, plan, sessions), transformed(workflow, plan, sessions))


@asks_nvtabular
@given(many_sessions, st.data())
def test_a_session_is_encoded_alike_alone_and_among_others_whatever_the_padding(step, plan, sessions, data):
    together = request_tensors(sessions, plan.raw_features, width=9)
    for name, garbage in (("item_id", b"\xff\x00"), ("price", np.inf), ("timestamp", -5), ("category", 3)):
        padding = np.arange(9) >= together["session_length"]
        together[name][padding] = garbage
    served = step.run(together)
    row = data.draw(st.integers(0, len(sessions) - 1))
    alone = step.run(request_tensors([sessions[row]], plan.raw_features))
    for feature in plan.features:
        np.testing.assert_array_equal(served[feature.tensor][row], alone[feature.tensor][0])


def test_a_long_session_keeps_its_newest_interactions_in_order_of_time(step, plan, shop):
    times = [5, 1, 4, 2, 3, 0]
    items = encode(step, plan, [session(*((f"ø{t}", t, 1, 1.0) for t in times))])["item_id-list"]
    by_time = encode(step, plan, [session(*((f"ø{t}", t, 1, 1.0) for t in (2, 3, 4, 5)))])["item_id-list"]
    assert items.shape == (1, shop.WINDOW)
    assert (items >= UNKNOWN).all()
    np.testing.assert_array_equal(items, by_time)


def test_nulls_and_unknown_values_have_codes_of_their_own(step, plan):
    tensors = request_tensors([session(("ø1", 0, 1, 1.0), ("x", 1, 1, 1.0), ("ø1", 2, 1, 1.0))], plan.raw_features)
    tensors["item_id"][0, 2] = b""
    tensors["category"][0, 1:] = 99, NULL_INT64
    served = step.run(tensors)
    assert served["feature__0"][0, 0] >= FIRST_ITEM
    assert served["feature__0"][0, 1:].tolist() == [UNKNOWN, NULL, 0]
    assert served["feature__1"][0, 0] >= FIRST_ITEM
    assert served["feature__1"][0, 1:].tolist() == [UNKNOWN, NULL, 0]


def test_columns_that_are_null_throughout_are_answered(step, plan):
    tensors = request_tensors([session(("ø1", 0, 1, 1.0))], plan.raw_features)
    tensors["item_id"][:] = b""
    tensors["category"][:] = NULL_INT64
    tensors["price"][:] = LOWEST_FLOAT32
    served = step.run(tensors)
    assert served["feature__0"].tolist() == [[NULL, 0, 0, 0]]
    assert served["feature__1"].tolist() == [[NULL, 0, 0, 0]]
    assert served["feature__2"].tolist() == [[0, 0, 0, 0]]


def test_an_empty_session_is_padding_and_moves_no_other(step, plan):
    full = session(("ø1", 0, 1, 1.0), ("ø2", 1, 2, 2.0))
    served = encode(step, plan, [full.iloc[:0], full, full.iloc[:0]])
    alone = encode(step, plan, [full])
    for name, values in served.items():
        assert not values[[0, 2]].any()
        np.testing.assert_array_equal(values[1], alone[name][0])
    assert not any(values.any() for values in encode(step, plan, [full.iloc[:0]]).values())


def test_the_wanted_number_of_items_is_passed_on(step, plan):
    tensors = request_tensors([session(("ø1", 0, 1, 1.0))], plan.raw_features)
    assert step.run(tensors)["top_k_checked"].tolist() == [[20]]
    assert step.run(tensors | {"top_k": np.array([[7]], np.int32)})["top_k_checked"].tolist() == [[7]]


def test_a_bad_request_is_refused(step):
    with pytest.raises(RequestError, match="missing inputs 'item_id'"):
        step.run({})


def test_it_names_its_tensors(step):
    options = ("session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen")
    assert step.inputs == ("item_id", "category", "price", "timestamp", *options)
    assert step.outputs == ("feature__0", "feature__1", "feature__2", "excluded__3", "allowed__4", "top_k_checked")


def test_ties_in_time_keep_the_order_of_the_request_where_nothing_breaks_them(shop, frame, step_of, tmp_path):
    step, plan = step_of(shop.fit(frame, tmp_path, tie_breaker=False), frame, tie_breaker_column=None)
    codes = {f"ø{i}": encode(step, plan, [session((f"ø{i}", 0, 1, 1.0))])["item_id-list"][0, 0] for i in range(4)}
    # Long enough for numpy's quicksort to be unstable.
    items = [f"ø{i}" for i in np.random.default_rng(0).integers(0, 4, 300)]
    served = encode(step, plan, [session(*((item, 7, 1, 1.0) for item in items))])["item_id-list"]
    assert served.tolist() == [[codes[item] for item in items[-shop.WINDOW :]]]


@pytest.mark.parametrize("session_output", [True, False])
def test_a_filter_on_sessions_drops_none(shop, frame, step_of, session_output, tmp_path):
    workflow = shop.fit(frame, tmp_path, session_operator=LONG, session_output=session_output)
    short, long = session(("ø1", 0, 1, 1.0)), session(("ø2", 0, 2, 2.0), ("ø1", 1, 1, 1.0))
    true = workflow.transform(pd.concat([short.assign(session_id=0, position=0)]))
    assert not len(true)  # training drops it
    step, plan = step_of(workflow, frame)
    served = encode(step, plan, [short, long, short])["item_id-list"]
    assert (served[:, 0] >= FIRST_ITEM).all()
    assert (served != 0).sum(axis=1).tolist() == [1, 2, 1]


def test_sessions_stay_apart_where_the_workflow_encodes_their_column(shop, frame, step_of, tmp_path):
    """As NVIDIA's examples do: sessions that training has not seen would all have one code."""
    import nvtabular as nvt

    names = ["session_id", "item_id", "category"]
    codes = names >> ops.Categorify(dtype="int64", out_path=str(tmp_path))
    plain = ["price", "timestamp", "position"]
    grouped = (codes + plain) >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=["timestamp", "position"],
        aggs={name: ["list"] for name in ("item_id", "category", "price")},
        name_sep="-",
    )
    lists = grouped["item_id-list", "category-list", "price-list"] >> ops.ListSlice(-shop.WINDOW)
    workflow = nvt.Workflow(lists + grouped["session_id"])
    named = frame.assign(session_id=frame.session_id.map("session {}".format))
    workflow.fit(nvt.Dataset(named))
    step, plan = step_of(workflow, named, features=["item_id-list", "category-list", "price-list"])
    both = encode(step, plan, plan.sessions[:9])
    for row in range(9):
        alone = encode(step, plan, [plan.sessions[row]])
        for name, values in alone.items():
            np.testing.assert_array_equal(both[name][row], values[0], err_msg=name)
    assert set(shop.reference_of(plan).encode(plan.sessions[:9]).encoded) == set(range(9))


def test_rows_that_cannot_be_told_apart_are_an_error(shop, frame, step_of, tmp_path):
    class DropShort(ops.Operator):
        """Drops sessions as a Filter does, and is none."""

        def transform(self, col_selector, df):
            return df[df["item_id-count"] >= 2].reset_index(drop=True)

    sessions = [session(("ø1", 0, 1, 1.0)), session(("ø2", 0, 2, 2.0), ("ø1", 1, 1, 1.0))]
    workflow = shop.fit(frame, tmp_path, session_operator=DropShort(), session_output=False)
    with pytest.raises(RuntimeError) as caught:
        encode(*step_of(workflow, frame), sessions)
    assert "returned 1 rows for 2 sessions" in str(caught.value)
    assert "add 'session_id' to the workflow's outputs" in str(caught.value)
    workflow = shop.fit(frame, tmp_path, session_operator=DropShort())
    served = encode(*step_of(workflow, frame), sessions)["item_id-list"]
    assert (served != 0).sum(axis=1).tolist() == [0, 2]


def test_integer_ids_that_no_float_holds_are_told_apart_nulls_among_them(shop, step_of, tmp_path):
    frame = shop.interactions(string_items=False)
    step, plan = step_of(shop.fit(frame, tmp_path), frame)
    known = int(plan.vocabulary.values[0])
    one = session((0, 0, 1, 1.0), (0, 1, 1, 1.0), (0, 2, 1, 1.0))
    for ids, codes in (
        ([known, known + 1, known - 1], [FIRST_ITEM, UNKNOWN, UNKNOWN]),
        ([known, known + 1, NULL_INT64], [FIRST_ITEM, UNKNOWN, NULL]),
    ):
        served = encode(step, plan, [one], item_id=np.array([ids]))["item_id-list"]
        assert served.tolist() == [[*codes, 0]]


def test_a_number_beyond_training_s_narrow_type_is_unknown_and_does_not_wrap_around(shop, frame, step_of, tmp_path):
    frame = frame.assign(category=frame["category"].astype("int8"))
    step, plan = step_of(shop.fit(frame, tmp_path), frame)
    one = session(("ø1", 0, 1, 1.0), ("ø1", 1, 1, 1.0), ("ø1", 2, 1, 1.0))
    for values in ([1, 257, -(2**62)], [1, 257, NULL_INT64]):
        served = encode(step, plan, [one], category=np.array([values]))["category-list"][0]
        assert served[0] >= FIRST_ITEM
        assert served[1:].tolist() == [UNKNOWN, NULL if values[2] == NULL_INT64 else UNKNOWN, 0]


def test_booleans_are_sent_as_integers(shop, frame, step_of, tmp_path):
    frame = frame.assign(category=frame["category"] % 2 == 0)
    step, plan = step_of(shop.fit(frame, tmp_path), frame)
    assert plan.signature.feature("category").kind == "boolean"
    one = session(("ø1", 0, True, 1.0), ("ø1", 1, True, 1.0), ("ø1", 2, True, 1.0))
    served = encode(step, plan, [one], category=np.array([[1, 0, NULL_INT64]]))["category-list"][0]
    true = transformed(plan.fitted.workflow, plan, [session(("ø1", 0, True, 1.0), ("ø1", 1, False, 1.0))])[
        "category-list"
    ][0]
    assert served.tolist() == [*true[:2], NULL, 0]


def test_the_fitted_workflow_is_left_as_it_was(workflow, plan):
    before = [node.op for node in _nodes(workflow.output_node)]
    served = [node.op for node in _nodes(serving_form(workflow).output_node)]
    assert [node.op for node in _nodes(workflow.output_node)] == before
    assert not any(isinstance(op, (ops.Groupby, ops.Categorify)) for op in served)


def test_its_settings_are_plain_json(folder):
    settings = json.loads((folder / "step.json").read_text())
    assert settings["session_column"] == "session_id"
    assert settings["tie_breaker_column"] == "position"
    assert settings["columns"]["price"] == "float32"
    assert isinstance(open_step(folder)._encode, NvtabularEncoder)
