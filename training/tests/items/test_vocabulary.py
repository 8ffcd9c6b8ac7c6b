import numpy as np
import pandas as pd
import pytest

from nextitem_training import workflow
from nextitem_training.config import DataConfig
from nextitem_training.interactions import read_interactions
from nextitem_training.items.vocabulary import extend_vocabulary


@pytest.mark.parametrize(
    ("known", "more", "column"),
    [
        (["a", "b", "a"], ["d", "c"], "item_id"),
        ([7, None, 9], [2**60 + 1, 5], "item_id"),
        (["a", "b", "a"], ["d", "c"], "item/id"),
    ],
)
def test_nvtabular_knows_the_new_values_behind_the_last_code(tmp_path, known, more, column):
    times = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"])
    frame = pd.DataFrame({"session_id": ["s"] * 3, column: pd.array(known), "timestamp": times, "brand": list("xyx")})
    frame.to_parquet(tmp_path / "clicks.parquet")
    data = DataConfig(item_column=column, categorical=("brand",), time_features=("hour",))
    read, dtypes = read_interactions(tmp_path / "clicks.parquet", data)
    (tmp_path / "storage").mkdir()
    fitted = workflow.fit(read, data, tmp_path / "storage")
    schema = workflow.describe(fitted.served, data, dtypes)
    before = workflow.encode(fitted.whole, read, schema).features
    old = workflow.vocabulary(fitted.served, column)

    new = np.array(more, dtype=old.values.dtype)
    extend_vocabulary(fitted, column, new, tmp_path / "storage" / "extended")
    longer = workflow.vocabulary(fitted.served, column)
    assert longer.values.tolist() == [*old.values, *more]
    assert longer.counts.tolist() == [*old.counts, 0, 0]
    assert workflow.describe(fitted.served, data, dtypes).item_count == schema.item_count + 2
    assert workflow.vocabulary(fitted.served, "brand").values.tolist() == ["x", "y"]

    after = workflow.encode(fitted.whole, read, schema).features
    assert all((after[name] == before[name]).all() for name in before)
    asked = pd.concat([read.head(2)] * 2, ignore_index=True)
    asked[column] = pd.array([*more, old.values[0], None], dtype=read[column].dtype)
    asked["timestamp"] = times[0]
    asked["row_position"] = range(4)
    codes = [3 + len(old.values), 4 + len(old.values), 3, 1]
    workflow.save(fitted.served, tmp_path / "saved")
    for one in (fitted.served, fitted.whole, workflow.load(tmp_path / "saved")):
        assert workflow.encode(one, asked, schema).features[column].tolist() == codes
    files = sorted(path.name for path in (tmp_path / "saved" / "categories").iterdir())
    assert len(files) == 3
    assert str(tmp_path).encode() not in (tmp_path / "saved" / "workflow.pkl").read_bytes()
