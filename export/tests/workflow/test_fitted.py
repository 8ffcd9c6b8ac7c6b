from __future__ import annotations

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
from nvtabular import ops

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export import UnsupportedWorkflow
from nextitem_export.workflow.fitted import FittedWorkflow

KEYS = ["session_id", "timestamp"]


def refusal(act) -> str:
    with pytest.raises(UnsupportedWorkflow) as caught:
        act()
    return str(caught.value)


def grouped(columns, aggs, key=("session_id",)):
    return columns >> ops.Groupby(groupby_cols=list(key), sort_cols=["timestamp"], aggs=aggs, name_sep="-")


def fitted(node, frame) -> FittedWorkflow:
    workflow = nvt.Workflow(node)
    workflow.fit(nvt.Dataset(frame))
    return FittedWorkflow(workflow)


@pytest.fixture
def items(frame, tmp_path):
    """A workflow of the item column alone, encoded as the arguments say."""

    def make(values=None, column="item_id", **arguments):
        table = frame if values is None else frame.assign(item_id=np.resize(np.array(values), len(frame)))
        codes = [column] >> ops.Categorify(out_path=str(tmp_path), **arguments)
        name = column if isinstance(column, str) else arguments.get("name", "_".join(column))
        return fitted(grouped(codes + KEYS, {name: ["list"]}), table)

    return make


@pytest.fixture(scope="module")
def read(workflow) -> FittedWorkflow:
    return FittedWorkflow(workflow)


def test_key_sort_columns_and_outputs_are_read(read):
    assert read.session_column == "session_id"
    assert read.sort_columns == ("timestamp", "position")
    assert read.raw_columns["item_id"] == "string"
    assert read.raw_columns["timestamp"] == "datetime"
    assert read.raw_columns["price"] == "float32"
    assert {output.name: output.dtype for output in read.outputs.values()} == {
        "item_id-list": "int64",
        "category-list": "int64",
        "price-list": "float64",
    }


def test_the_vocabulary_has_every_value_by_code_with_its_interactions(read, workflow, frame):
    vocabulary = read.vocabulary("item_id-list")
    assert vocabulary.column == "item_id"
    assert vocabulary.cardinality == FIRST_ITEM + frame["item_id"].nunique()
    by_session = frame.groupby("session_id")["item_id"].apply(lambda ids: ids.tolist()[-4:])
    for ids, codes in zip(by_session, workflow.transform(frame)["item_id-list"], strict=True):
        assert vocabulary.values[np.array(codes) - FIRST_ITEM].tolist() == ids
    counts = frame["item_id"].value_counts()
    assert dict(zip(vocabulary.values, vocabulary.counts, strict=True)) == counts.to_dict()


def test_integer_ids_beyond_float_precision_are_exact(items):
    ids = [2**53 + 1, 2**60 + 1, -(2**53) - 1]
    assert sorted(items(ids).vocabulary("item_id-list").values.tolist()) == sorted(ids)


def test_a_column_of_pandas_strings_is_a_string_column(frame, tmp_path):
    table = frame.assign(item_id=frame["item_id"].astype("string"))
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    read = fitted(grouped(codes + KEYS, {"item_id": ["list"]}), table)
    assert read.raw_columns["item_id"] == "string"
    assert set(read.vocabulary("item_id-list").values) == set(frame["item_id"])


def test_encoded_outputs_of_a_raw_column_are_found_through_renames(frame, tmp_path):
    codes = ["item_id", "category"] >> ops.Categorify(out_path=str(tmp_path))
    lists = grouped(codes + KEYS, {"item_id": ["list"], "category": ["list"]})
    read = fitted(lists["item_id-list", "category-list"] >> ops.Rename(f=lambda name: name[:-5] + "s"), frame)
    assert read.encoded_outputs_of("item_id") == ["item_ids"]
    assert read.encoded_outputs_of("category") == ["categorys"]
    assert read.encoded_outputs_of("timestamp") == []
    assert read.vocabulary("item_ids").column == "item_id"


def test_the_window_is_what_the_slices_keep(read, shop, frame, tmp_path):
    assert read.window("item_id-list", keep_oldest=False) == shop.WINDOW
    unbounded = FittedWorkflow(shop.fit(frame, tmp_path, window_slice=None))
    assert unbounded.window("item_id-list", keep_oldest=False) is None


@pytest.mark.parametrize(
    ("window_slice", "shown", "kept"),
    [((0, 4), "ListSlice(0, 4)", 4), ((4,), "ListSlice(0, 4)", 4), ((-6, -2), "ListSlice(-6, -2)", 4)],
)
def test_a_slice_that_loses_the_newest_interactions_is_refused_unless_asked_for(
    shop, frame, tmp_path, window_slice, shown, kept
):
    read = FittedWorkflow(shop.fit(frame, tmp_path, window_slice=window_slice))
    message = refusal(lambda: read.window("item_id-list", keep_oldest=False))
    assert f"{shown} on 'item_id-list' does not keep the newest" in message
    assert f"fit the workflow with ListSlice(-{kept})" in message
    assert "ExportOptions(keep_workflow_window=True)" in message
    assert read.window("item_id-list", keep_oldest=True) == kept


def test_transform_does_not_read_the_index(read, frame):
    frame = frame.assign(item_id=frame["item_id"].mask(frame["category"] == 2))
    shuffled = frame.set_index(np.random.default_rng(0).permutation(len(frame)))
    pd.testing.assert_frame_equal(read.transform(shuffled), read.transform(frame))


def test_a_column_that_is_renamed_before_its_encoding_is_the_raw_one(frame, tmp_path):
    codes = (
        ["item_id"] >> ops.Rename(name="short") >> ops.Categorify(out_path=str(tmp_path)) >> ops.Rename(name="item_id")
    )
    read = fitted(grouped(codes + KEYS, {"item_id": ["list"]}), frame)
    assert read.encoded_outputs_of("item_id") == ["item_id-list"]
    assert read.vocabulary("item_id-list").column == "item_id"
    assert not read.encoded_outputs_of("short")


def test_saving_leaves_the_workflow_reading_its_own_vocabularies(shop, frame, tmp_path):
    read = FittedWorkflow(shop.fit(frame, tmp_path / "fitted"))
    read.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "workflow.pkl").is_file()
    (tmp_path / "saved").rename(tmp_path / "gone")
    assert len(read.transform(frame)) == frame["session_id"].nunique()


def test_a_workflow_that_was_never_fitted_is_refused():
    message = refusal(lambda: FittedWorkflow(nvt.Workflow(["a"] >> ops.Categorify())))
    assert "never fitted: call workflow.fit(dataset)" in message


def test_a_workflow_without_sessions_is_refused(frame, tmp_path):
    message = refusal(lambda: fitted(["item_id"] >> ops.Categorify(out_path=str(tmp_path)), frame))
    assert "groups by nothing, expected one Groupby by one session column" in message
    assert "ops.Groupby(groupby_cols=['session_id'], …)" in message


def test_sessions_by_two_columns_are_refused(frame, tmp_path):
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    key = ["category", *KEYS]
    columns = codes + key
    node = grouped(columns, {"item_id": ["list"]}, key=("session_id", "category"))
    assert "groups by [('session_id', 'category')]" in refusal(lambda: fitted(node, frame))


def test_a_raw_list_is_refused(frame, tmp_path):
    table = frame.assign(tags=[["a", "b"]] * len(frame))
    codes = ["item_id", "tags"] >> ops.Categorify(out_path=str(tmp_path))
    node = grouped(codes + KEYS, {"item_id": ["list"], "tags": ["first"]})
    message = refusal(lambda: fitted(node, table))
    assert "the raw column 'tags' is a list, expected one value per interaction: explode it" in message


def test_an_output_that_is_not_encoded_has_no_vocabulary(read):
    message = refusal(lambda: read.vocabulary("price-list"))
    assert "no Categorify stands behind the workflow's output 'price-list'" in message
    assert "ops.Categorify()" in message


def test_joint_codes_are_refused(items):
    read = items(column=["item_id", "category"], encode_type="combo")
    message = refusal(lambda: read.vocabulary("item_id_category-list"))
    assert "encodes ['item_id', 'category'] together, expected one raw column" in message


@pytest.mark.parametrize("arguments", [{"num_buckets": 5, "max_size": 10}, {"single_table": True}])
def test_codes_that_are_not_one_for_each_item_are_refused(frame, tmp_path, arguments):
    codes = ["category", "item_id"] >> ops.Categorify(out_path=str(tmp_path), **arguments)
    node = grouped(codes + KEYS, {"item_id": ["list"], "category": ["list"]})
    message = refusal(lambda: fitted(node, frame).vocabulary("item_id-list"))
    assert "the vocabulary of 'item_id' has the codes [" in message
    assert "expected every code from 3 on once" in message
    assert "a Categorify of its own" in message


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (["a", "b\0c", "b"], ["holds 'b\\x00c' with a NUL character", "before fitting"]),
        (["a", "", "b"], ["holds '', which means null in a request", "before fitting"]),
        ([5, NULL_INT64, 7], [f"holds {NULL_INT64}, which means null in a request", "before fitting"]),
        ([5.5, 7.0], ["holds float64 values that are no integers", "into strings before fitting"]),
        (np.array([b"a", b"b"], dtype=object), ["holds b'", "a bytes, expected strings or integers"]),
    ],
)
def test_ids_that_a_request_cannot_carry_are_refused(items, values, parts):
    message = refusal(lambda: items(values).vocabulary("item_id-list"))
    assert message.startswith("the vocabulary of 'item_id' ")
    for part in parts:
        assert part in message
