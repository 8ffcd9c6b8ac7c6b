import pytest

from nextitem_training import workflow
from nextitem_training.config import DataConfig
from nextitem_training.interactions import read_interactions


@pytest.mark.parametrize("name", ["timestamp/age_days", "../up", "x" * 260])
def test_a_vocabulary_is_kept_under_any_name(clicks, tmp_path, name):
    clicks.rename(columns={"item_id": name, "brand": f"{name}?"}).to_parquet(tmp_path / "x.parquet")
    data = DataConfig(item_column=name, categorical=(f"{name}?", "shop"))
    frame, dtypes = read_interactions(tmp_path / "x.parquet", data)
    (tmp_path / "storage").mkdir()
    fitted = workflow.fit(frame, data, tmp_path / "storage")
    schema = workflow.describe(fitted.served, data, dtypes)
    assert schema.raw_dtypes == {name: "string", "timestamp": "datetime", f"{name}?": "string", "shop": "int64"}
    workflow.save(fitted.served, tmp_path / "saved")
    loaded = workflow.load(tmp_path / "saved")
    items = workflow.vocabulary(loaded, name)
    assert sorted(items.values) == sorted(clicks["item_id"].unique())
    encoded = workflow.encode(loaded, frame, schema)
    assert encoded.features[name].max() == len(items.values) + 2
    assert {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("unique*")} == {
        "storage/categories",
        "saved/categories",
    }
