import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextitem_bundle.names import RESERVED, RESERVED_PREFIXES
from nextitem_training.config import DataConfig, config_from
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.interactions import read_interactions
from nextitem_training.train import check

TIMES = [pa.scalar(day, pa.date32()).as_py() for day in (19_000, 19_001)]


def read(path, values, **settings):
    columns = {"session_id": [1, 2], "item_id": ["a", "b"], "timestamp": TIMES, "brand": ["x", "y"]}
    pq.write_table(pa.table(columns | values), path / "x.parquet")
    return read_interactions(path / "x.parquet", DataConfig(categorical=("brand",), **settings))


@pytest.mark.parametrize("column", ["item_id", "brand"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_strings_that_no_request_carries_are_refused(tmp_path, column, kind):
    for value, sentence in (
        ("a\0b", r"holds 'a\\x00b', with a NUL character, which no request may carry; take it out"),
        ("ø" * 513, r"holds a string of 1026 bytes, 'ø{40}…', where a request may carry 1024. .*--max-id-bytes"),
    ):
        values = (
            pa.array(["ok", value]).cast(kind)
            if not pa.types.is_dictionary(kind)
            else pa.array(["ok", value]).dictionary_encode()
        )
        with pytest.raises(DataError, match=f"Column '{column}' {sentence}"):
            read(tmp_path, {column: values})


def test_strings_at_the_limit_and_longer_where_that_is_set_are_taken(tmp_path):
    assert len(read(tmp_path, {"item_id": ["ø" * 512, "b"]})[0]) == 2
    assert len(read(tmp_path, {"item_id": ["x" * 5000, "b"]}, max_id_bytes=5000)[0]) == 2
    # Nobody sends the session's id.
    assert len(read(tmp_path, {"session_id": ["x" * 5000, "\0"]})[0]) == 2


@pytest.mark.parametrize("name", [*RESERVED, *(f"{prefix}0" for prefix in RESERVED_PREFIXES)])
@pytest.mark.parametrize("part", ["item_column", "time_column", "categorical", "continuous", "log_continuous"])
def test_names_of_the_served_model_s_own_tensors_are_refused(part, name):
    data = {part: name if part.endswith("column") else [name]}
    with pytest.raises(
        ConfigError, match=f"names the column '{name}', which callers .* would send beside .*; rename the column"
    ):
        check(config_from({"data": data}))


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb"])
def test_names_that_cannot_be_sent_are_refused(name):
    with pytest.raises(ConfigError, match=r"has to be one of printable characters\. Rename"):
        check(config_from({"data": {"categorical": [name]}}))


def test_columns_that_nobody_sends_may_have_these_names():
    check(config_from({"data": {"session_column": "session_length", "targets": ["status"]}}))
