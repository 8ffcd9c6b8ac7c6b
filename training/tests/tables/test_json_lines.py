import gzip
import json

import pytest

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.interactions import read_interactions
from nextitem_training.tables import json_lines

ROWS = [
    {"session_id": 1, "item_id": "0108787", "timestamp": 1704067200, "price": 2, "more": {"a": [1]}},
    {"session_id": 1, "item_id": "süß", "timestamp": 1704067260, "price": None},
    {"session_id": 2, "item_id": "2024-01-01", "timestamp": 1704067320.5, "price": 2.5, "more": "x"},
]


def text(rows=ROWS):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def read(tmp_path):
    def of(content, name="x.jsonl", **settings):
        (tmp_path / name).write_bytes(content)
        return read_interactions(tmp_path / name, DataConfig(log_continuous=("price",), **settings))

    return of


@pytest.mark.parametrize("block", [1, 1 << 16])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_members_are_columns_with_the_types_of_json(read, encoding, block, monkeypatch):
    monkeypatch.setattr(json_lines, "_LINES", block)
    frame, dtypes = read(text().encode(encoding), encoding=encoding)
    assert dtypes == {"item_id": "string", "timestamp": "datetime", "price": "float32", "session_id": "int64"}
    assert frame["item_id"].tolist() == ["0108787", "süß", "2024-01-01"]
    assert str(frame["timestamp"][2]) == "2024-01-01 00:02:00.500000"


@pytest.mark.parametrize("name", ["x.ndjson.gz", "x.jsonl.gz"])
def test_compressed_lines_and_blank_ones(read, name):
    assert len(read(gzip.compress(text(ROWS[:2]).replace("\n", "\n\n").encode()), name)[0]) == 2


def test_ids_that_look_like_times_stay_text(read):
    frame, _ = read(
        text([{**row, "item_id": "2024-01-0" + str(number + 1)} for number, row in enumerate(ROWS[:2])]).encode()
    )
    assert frame["item_id"].tolist() == ["2024-01-01", "2024-01-02"]


def test_lines_that_cannot_be_read_are_refused(read):
    with pytest.raises(DataError, match=r"x.jsonl, line 4: Expecting .*Every line has to be one JSON object"):
        read(text().encode() + b'{"session_id": 1')
    with pytest.raises(DataError, match=r"x.jsonl, line 1: it is \[1\]\. Every line"):
        read(b"[1]")
    with pytest.raises(DataError, match=r"x.jsonl has no column 'price'\. It has session_id, item_id, timestamp\."):
        read(text([{name: ROWS[0][name] for name in ("session_id", "item_id", "timestamp")}]).encode())
    with pytest.raises(DataError, match=r"set \[data\] encoding to what it is written in"):
        read(text().encode("latin-1"))
    with pytest.raises(DataError, match="holds no rows"):
        read(b"\n")


@pytest.mark.parametrize("others", [(1, "x"), (2**70, 1), ("\ud800", "x"), ([1], 2)])
def test_a_member_of_several_types_or_of_none_is_refused(read, others):
    rows = [{**row, "item_id": value} for row, value in zip(ROWS, others, strict=False)]
    with pytest.raises(
        DataError, match=r"x.jsonl: column 'item_id' cannot be read: .*Write all its values as one type"
    ):
        read("".join(json.dumps(row) + "\n" for row in rows).encode())
