import pytest

from nextitem_training import workflow
from nextitem_training.config import DataConfig
from nextitem_training.file_names import file_name
from nextitem_training.interactions import read_interactions

NAMES = ["a/b", "../up", "x" * 260, "ü" * 150, "a\\b", "a*b[1]?", "file://c", "s3::d", "a%2Fb", ""]


@pytest.mark.parametrize("name", ["brand", "page 2 (clothing model)", "größe", "a.b-c"])
def test_usual_names_are_files_names_as_they_are(name):
    assert file_name(name) == name


def test_other_names_are_replaced_each_by_its_own(tmp_path):
    replaced = {file_name(name) for name in NAMES}
    assert len(replaced) == len(NAMES)
    for name in replaced:
        (tmp_path / f"unique.{name}.parquet").write_text("")


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
