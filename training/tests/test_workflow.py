import numpy as np
import pandas as pd
import pytest

from nextitem_training import workflow
from nextitem_training.config import DataConfig
from nextitem_training.errors import RunDirectoryError
from nextitem_training.interactions import read_interactions


@pytest.fixture(scope="module")
def fitted(clicks_path, config, tmp_path_factory):
    frame, dtypes = read_interactions(clicks_path, config.data)
    result = workflow.fit(frame, config.data, tmp_path_factory.mktemp("storage"))
    return result, workflow.describe(result.served, config.data, dtypes), frame


def test_the_schema_names_features_cardinalities_and_raw_types(fitted):
    _, schema, frame = fitted
    assert schema.feature_names == (
        "item_id",
        "brand",
        "shop",
        "weekday",
        "hour",
        "price",
        "clicks",
    )
    assert schema.item_count == frame["item_id"].nunique() + 3
    assert [f.cardinality for f in schema.features][-2:] == [None, None]
    assert schema.item.tags == ("categorical", "item_id")
    assert schema.raw_dtypes["shop"] == "int64"
    assert not {"session_id", "row_position"} & set(schema.raw_dtypes)


def test_served_sessions_are_the_newest_interactions_of_whole_ones(fitted, config):
    result, schema, frame = fitted
    served = workflow.encode(result.served, frame, schema)
    whole = workflow.encode(result.whole, frame, schema)
    assert served.session_ids.tolist() == whole.session_ids.tolist()
    assert whole.lengths.max() > config.data.window
    assert (served.lengths == np.minimum(whole.lengths, config.data.window)).all()
    for name, values in served.features.items():
        assert np.isfinite(values).all()
        for b in range(len(served)):
            newest = whole.features[name][: whole.offsets[b + 1]][-served.lengths[b] :]
            assert (values[served.offsets[b] : served.offsets[b + 1]] == newest).all()


def test_rows_of_one_time_keep_their_order_whatever_the_rows_order(fitted):
    result, schema, frame = fitted
    shuffled = frame.sample(frac=1, random_state=3)
    expected = workflow.encode(result.whole, frame, schema)
    found = workflow.encode(result.whole, shuffled, schema)
    assert (found.features["item_id"] == expected.features["item_id"]).all()


def test_codes_are_the_vocabulary_and_null_and_unknown_have_their_own(fitted):
    result, schema, frame = fitted
    vocabulary = workflow.vocabulary(result.served, "item_id")
    assert vocabulary.counts.sum() == len(frame)
    assert (np.diff(vocabulary.counts) <= 0).all()
    rows = frame.head(4).copy()
    rows["session_id"] = "s"
    rows["item_id"] = [vocabulary.values[0], "never seen", None, vocabulary.values[-1]]
    rows["shop"] = pd.array([2**60 + 1, 2**60, None, 7], dtype="Int64")
    found = workflow.encode(result.served, rows, schema).features
    assert found["item_id"].tolist() == [3, 2, 1, len(vocabulary.values) + 2]
    assert found["shop"][1:3].tolist() == [2, 1]
    assert {found["shop"][0], found["shop"][3]} == {3, 4}


def test_null_in_every_column_and_any_index_is_encoded(fitted):
    result, schema, frame = fitted
    rows = frame.head(3).copy()
    rows["session_id"] = "s"
    rows.index = [7, 7, 9]
    for name in schema.raw_dtypes:
        rows[name] = rows[name].mask(rows[name].notna().to_numpy())
    found = workflow.encode(result.served, rows, schema).features
    for feature in schema.features:
        assert set(found[feature.name]) == {1 if feature.cardinality else 0}
    again = workflow.encode(result.served, frame.head(3), schema)  # the workflow is unchanged
    assert (again.features["item_id"] >= 3).all()


def test_the_saved_workflow_holds_no_path_of_this_machine(fitted, tmp_path):
    workflow.save(fitted[0].served, tmp_path / "saved")
    stored = (tmp_path / "saved" / "workflow.pkl").read_bytes()
    for path in (tmp_path, tmp_path.parent.parent, workflow.__file__):
        assert str(path).encode() not in stored
    # Saving left the fitted workflow where it was.
    assert str(tmp_path) not in str(vars(workflow._operators(fitted[0].served)[0]))


def test_a_workflow_that_cannot_be_loaded_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"cannot be loaded .*train again"):
        workflow.load(tmp_path)


@pytest.mark.parametrize("part", ["continuous", "log_continuous"])
@pytest.mark.parametrize("dtype", ["Int64", "boolean"])
def test_numbers_among_nulls_are_encoded_as_floats_are(clicks, part, dtype, tmp_path):
    encoded = {}
    for name, kind in (("nullable", dtype), ("floats", "float64")):
        number = (clicks["clicks"] % 2).astype(dtype).mask(clicks.index % 3 == 0)
        path = tmp_path / f"{name}.parquet"
        clicks.assign(clicks=number.astype(kind)).to_parquet(path)
        data = DataConfig(**{part: ("clicks",)})
        frame, dtypes = read_interactions(path, data)
        (tmp_path / name).mkdir()
        fitted = workflow.fit(frame, data, tmp_path / name)
        schema = workflow.describe(fitted.served, data, dtypes)
        encoded[name] = workflow.encode(fitted.served, frame, schema).features["clicks"]
    assert dtypes["clicks"] == "float32"
    np.testing.assert_allclose(encoded["nullable"], encoded["floats"], rtol=1e-6)
    assert np.std(encoded["nullable"]) > 0.1


def test_nulls_are_answered_by_a_copy_and_the_workflow_stays_nvtabulars(fitted):
    result, _, frame = fitted
    rows = frame[result.served.input_schema.column_names].assign(brand=None).reset_index(drop=True)
    copied = workflow.null_safe(result.served)
    codes = copied.transform(rows)["brand"]
    assert {int(code) for row in codes for code in row} == {1}
    kinds = {type(op) for op in workflow._operators(result.served)}
    assert workflow.NullSafeCategorify not in kinds
    assert workflow.NullSafeCategorify in {type(op) for op in workflow._operators(copied)}
