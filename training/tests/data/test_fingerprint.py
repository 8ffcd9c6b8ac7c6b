import dataclasses
import json

import pandas as pd
import pyarrow as pa
import pytest

from nextitem_training.config import Config, config_from
from nextitem_training.data.fingerprint import fingerprint, refuse_other
from nextitem_training.data.split import Given
from nextitem_training.errors import RunDirectoryError

FRAME = pd.DataFrame(
    {
        "session_id": ["a", "a", "b"],
        "item_id": pd.array([1, None, 3], dtype="Int64"),
        "brand": ["north", None, "south"],
        "price": pd.array([1.0, float("nan"), 2.0], dtype="float32"),
    }
)


def test_another_items_table_gives_another():
    table = pa.table({"item_id": ["a", "b"], "tags": [["x"], []], "text": [[1.0, 2.0], [3.0, 4.0]]})
    other = table.set_column(1, "tags", [[["x"], ["x"]]])
    found = fingerprint(Config(), FRAME, items=table)
    assert found == fingerprint(Config(), FRAME, items=pa.concat_tables([table]).combine_chunks())
    for changed in (other, None):
        with pytest.raises(
            RunDirectoryError, match=r"the table of --items is another one\. Give what it was begun with"
        ):
            refuse_other(found, fingerprint(Config(), FRAME, items=changed), "folder")


def test_the_same_gives_the_same_through_json():
    config = config_from(
        {"data": {"targets": ["bought"]}, "heads": [{"name": "buys", "kind": "binary", "column": "bought"}]}
    )
    assert json.loads(json.dumps(fingerprint(config, FRAME))) == fingerprint(config, FRAME.copy())


@pytest.mark.parametrize(
    "other",
    [
        FRAME.iloc[::-1],
        FRAME.iloc[:2],
        FRAME.rename(columns={"brand": "shop"}),
        FRAME.assign(brand=["north", None, "west"]),
        FRAME.assign(item_id=pd.array([1, 2, 3], dtype="Int64")),
        FRAME.assign(price=FRAME.price.astype("float64")),
    ],
)
def test_other_data_gives_another(other):
    assert fingerprint(Config(), FRAME)["data"] != fingerprint(Config(), other)["data"]


def test_every_setting_has_an_entry_of_its_own():
    entries = fingerprint(Config(), FRAME)["configuration"]
    for table in dataclasses.fields(Config):
        section = getattr(Config(), table.name)
        names = [spec.name for spec in dataclasses.fields(section)] if dataclasses.is_dataclass(section) else [""]
        assert {f"[{table.name}] {name}".strip() for name in names} <= entries.keys()


def test_files_that_are_read_count(tmp_path):
    vectors = tmp_path / "vectors.npz"
    config = config_from({"inputs": {"pretrained_items": str(vectors)}})
    found = []
    for content in (b"one", b"two"):
        vectors.write_bytes(content)
        mark = fingerprint(config, FRAME, init_from=vectors)
        found.append((mark["pretrained_items"], mark["init_from"]))
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]


@pytest.mark.parametrize(
    ("given", "option"),
    [(Given(validation=FRAME), "--validation-data"), (Given(held_out=FRAME), "--test-data")],
)
def test_interactions_that_it_is_judged_by_count(given, option, tmp_path):
    without, marked = fingerprint(Config(), FRAME), fingerprint(Config(), FRAME, given=given)
    with pytest.raises(RunDirectoryError, match=f"the interactions of {option} are other ones"):
        refuse_other(without, marked, tmp_path)
    refuse_other(marked, fingerprint(Config(), FRAME, given=given), tmp_path)


def test_what_an_older_version_began_goes_on(tmp_path):
    """It knew of no such files."""
    older = fingerprint(Config(), FRAME)
    del older["validation_data"], older["test_data"]
    refuse_other(older, fingerprint(Config(), FRAME), tmp_path)
