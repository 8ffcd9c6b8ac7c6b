"""Whole files of sessions, against a server that is none; serving_tests/ has the real ones."""

import csv
import errno
import os
import sys
from unittest.mock import Mock

import pytest
from client.tests.support.rows import read_lines, rows_of, write_lines
from hypothesis import given
from hypothesis import strategies as st

from nextitem_client import InvalidOption, MissingPackage
from nextitem_client.bulk import recommend_file
from nextitem_client.bulk._answering import progress_bar
from nextitem_client.bulk._files import ABSENT, CsvRows, JsonLines
from nextitem_client.bulk._grouping import count_sessions, group
from nextitem_client.testing import FakeServer

FEATURES = {"item_id": "string", "at": "datetime", "size": "integer", "new": "boolean", "price": "float"}

ids = st.one_of(st.none(), st.integers(0, 4), st.sampled_from(["0", "1", "ä"]))


@given(st.lists(ids, max_size=40), st.integers(1, 7))
def test_sessions_come_whole_and_in_order_of_first_appearance(rows, chunk):
    numbered = list(enumerate(rows))
    chunks = [numbered[start : start + chunk] for start in range(0, len(numbered), chunk)]
    sessions = count_sessions([one for _, one in part] for part in chunks)
    found = list(group((([one for _, one in part], {"row": [n for n, _ in part]}) for part in chunks), sessions))
    expected: dict = {}
    for number, session_id in numbered:
        expected.setdefault(session_id, []).append(number)
    assert [(one.session_id, one.columns["row"]) for one in found] == list(expected.items())
    assert sessions.count == len(expected)


def test_a_session_is_handed_out_before_the_next_but_one_is_read():
    read = []

    def chunks():
        for number in range(100):
            read.append(number)
            yield [number, number], {"row": [0, 1]}

    stream = group(chunks(), count_sessions([n, n] for n in range(100)))
    assert [next(stream).session_id for _ in range(50)] == list(range(50))
    assert len(read) == 51


def test_ids_of_one_hash_are_two_sessions():
    rows = [-1, -2, -1, -2, 5]  # Python gives -1 and -2 one hash
    assert hash(-1) == hash(-2)
    found = group([(rows, {"row": [0, 1, 2, 3, 4]})], count_sessions([rows]))
    assert [(one.session_id, one.columns["row"]) for one in found] == [(-1, [0, 2]), (-2, [1, 3]), (5, [4])]


def signature(features: dict):
    return FakeServer([], features=features).client().signature


def test_csv_is_read_by_the_kinds_of_the_features(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(
        'new,item_id,session_id,at,size,price,more\nTrue,"a, b",7,2024-05-01T10:00:00Z,-3,1.5,x\n\n0,,8,-5,x,,\n',
        encoding="utf-8-sig",
    )
    rows = CsvRows(path, "session_id", signature(FEATURES))
    assert [list(chunk) for chunk in rows.ids()] == [["7", "8"]]
    ((found, columns),) = rows.rows()
    assert found == ["7", "8"]
    assert columns == {
        "item_id": ["a, b", None],
        "at": ["2024-05-01T10:00:00Z", -5],
        "size": [-3, "x"],  # refused by the client, which names the place
        "new": [True, False],
        "price": [1.5, None],
    }


def test_json_lines_keep_their_types(tmp_path):
    path = write_lines(tmp_path / "s.jsonl", [{"session_id": 7, "item_id": "a", "size": 2**62 + 1}, {"item_id": "b"}])
    ((found, columns),) = JsonLines(path, "session_id", signature({"item_id": "string", "size": "integer"})).rows()
    assert found == [7, None]
    assert columns == {"item_id": ["a", "b"], "size": [2**62 + 1, ABSENT]}


def test_parquet_keeps_times_exact_and_whole_floats_whole(tmp_path, small_parts):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    server = FakeServer(["x"], features=FEATURES)
    columns = {
        "session_id": arrow.array([1, 1, 2], arrow.uint64()),
        "item_id": arrow.array(["a", "b", "a"]).dictionary_encode(),
        "at": arrow.array([1714557600123456789, None, 5], arrow.timestamp("ns", "Asia/Tokyo")),
        "size": [1.0, None, float("nan")],  # what pandas makes of integers with nulls
        "new": [True, None, False],
        "price": arrow.array([1, 2, None], arrow.int16()),
        "more": [0, 0, 0],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "s.parquet", row_group_size=1)
    output = tmp_path / "o.parquet"
    recommend_file(tmp_path / "s.parquet", output, server.client(), progress=False)
    first, second = server.requests
    assert first.session == {"item_id": ["a", "b"], "at": [1714557600123456789, None], "size": [1, None],
                             "new": [True, None], "price": [1.0, 2.0]}  # fmt: skip
    assert second.session["size"] == [None]
    table = parquet.read_table(output)
    assert table.schema.field("session_id").type == arrow.uint64()
    assert table.to_pydict() == {
        "session_id": [1, 2], "rank": [1, 1], "item_id": ["x", "x"], "score": [1.0, 1.0], "status": ["ok", "ok"],
    }  # fmt: skip


def test_the_answers_are_rows_in_order(tmp_path, fake, small_parts):
    source = write_lines(tmp_path / "s.jsonl", rows_of(12))
    report = recommend_file(source, tmp_path / "o.jsonl", fake.client(), concurrency=3, progress=False)
    assert (report.sessions, report.failed, report.resumed, report.failures) == (12, 0, 0, None)
    assert read_lines(tmp_path / "o.jsonl") == [
        {"session_id": n, "rank": rank, "item_id": f"{n}-{2 - rank}", "score": 1 / rank, "status": "ok"}
        for n in range(12)
        for rank in (1, 2)
    ]
    recommend_file(source, tmp_path / "o.csv", fake.client(), k=1, exclude=["0-1"], progress=False)
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))
    assert rows[:3] == [["session_id", "rank", "item_id", "score", "status"], ["0", "1", "0-0", "0.5", "ok"],
                        ["1", "1", "1-1", "1.0", "ok"]]  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["o.csv", "o.jsonl", "s.jsonl"]


def test_a_session_without_any_item_has_a_row(tmp_path, fake):
    source = write_lines(tmp_path / "s.jsonl", rows_of(1))
    recommend_file(source, tmp_path / "o.jsonl", fake.client(), exclude_seen=True, progress=False)
    (row,) = read_lines(tmp_path / "o.jsonl")
    assert row == {"session_id": 0, "rank": None, "item_id": None, "score": None, "status": "ok"}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_no_session_at_all(tmp_path, fake, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    source = write_lines(tmp_path / "s.jsonl", [])
    assert recommend_file(source, tmp_path / f"o.{kind}", fake.client(), progress=False).sessions == 0
    assert (tmp_path / f"o.{kind}").exists()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("s.xlsx", "", r"s\.xlsx is of no known kind; known are \.parquet, \.csv, \.jsonl"),
        (
            "s.csv",
            "session_id,item\n",
            r"has no column item_id\. Needed are session_id .*; the file has session_id, item",
        ),
        ("s.csv", "", "the file has none"),
        ("s.csv", "session_id,item_id,item_id\n", "has the column item_id more than once"),
        ("s.csv", "session_id,item_id\n1,a\n1\n", r"Line 3 of .* has 1 fields, and its header has 2"),
        ("s.csv", 'session_id,item_id\n1,"a\n', r"is no CSV in UTF-8 near line 2"),
        ("s.jsonl", '{"session_id": 1}\n{"session', r"Line 2 of .* is no JSON"),
        ("s.jsonl", "[1]\n", r"Line 1 of .* is no JSON object"),
        (
            "s.jsonl",
            '{"session_id": 1.5}\n',
            r"has the session_id 1\.5; expected is text that UTF-8 can hold, or an integer of",
        ),
        ("s.jsonl", '{"session_id": 1}\n{"session_id": "1"}\n', "Some session ids are text and some are integers"),
        ("s.jsonl", '{"session_id": "\\ud800"}\n', "expected is text that UTF-8 can hold"),
        ("s.jsonl", "[" * 100_000, r"Line 1 of .* is no JSON"),
        ("s.csv", b"session_id,item_id\n1,\xff\n", r"s\.csv is no CSV in UTF-8 near line 1: .*0xff"),
        ("s.csv", b"session_id,item_id\n" + b"1,a\n" * 9_000 + b"\xff", r"is no CSV in UTF-8 near line \d{4}: .*0xff"),
        ("s.parquet", "no", r"s\.parquet cannot be read as a Parquet file"),
        (None, "", r"gone\.csv does not exist"),
        (".", None, r"The file of sessions .* is a folder"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, fake, name, content, expected):
    if name == "s.parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / (name or "gone.csv")
    if name and content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidOption, match=expected):
        recommend_file(path, tmp_path / "o.jsonl", fake.client(), progress=False)
    assert os.listdir(tmp_path) == ([name] if name and content is not None else [])
    assert fake.requests == []


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_with_attributes_that_the_catalogue_has(tmp_path, kind):
    row = {"session_id": "1", "item_id": "a", "price": 1.5}
    path = tmp_path / f"s.{kind}"
    if kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist([row]), path)
    elif kind == "csv":
        path.write_text("session_id,item_id,price\n1,a,1.5\n")
    else:
        write_lines(path, [row])
    server = FakeServer(["b"], catalogue={"price": "float"})
    where = rf"Line 1 of .*s\.{kind}" if kind == "jsonl" else rf"s\.{kind}"
    with pytest.raises(InvalidOption, match=rf"{where} cannot be used, since the catalogue has 'price' of each item"):
        recommend_file(path, tmp_path / "o.jsonl", server.client(), progress=False)
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_that_the_system_does_not_let_us_read(tmp_path, fake, monkeypatch):
    source = write_lines(tmp_path / "s.jsonl", rows_of(1))
    denied = PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(JsonLines, "_chunks", Mock(side_effect=denied))  # root may read all
    with pytest.raises(InvalidOption, match=r"s\.jsonl cannot be read \(Permission denied\)"):
        recommend_file(source, tmp_path / "o.jsonl", fake.client(), progress=False)


def test_one_row_a_session_with_lists_in_parquet(tmp_path, fake):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"session_id": [1], "item_id": [["a", "b"]]}), tmp_path / "s.parquet")
    with pytest.raises(InvalidOption, match=r"holds lists in item_id; expected is one row for each interaction"):
        recommend_file(tmp_path / "s.parquet", tmp_path / "o.jsonl", fake.client(), progress=False)


def test_session_ids_of_other_types_in_parquet(tmp_path, fake):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"session_id": [1.5], "item_id": ["a"]}), tmp_path / "s.parquet")
    with pytest.raises(InvalidOption, match=r"session_id .* is of type double; expected are strings or integers"):
        recommend_file(tmp_path / "s.parquet", tmp_path / "o.jsonl", fake.client(), progress=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"k": 0}, "k is 0; expected is an int from 1 to 100, or None for 2"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"output": "o.txt"}, r"o\.txt is of no known kind; known are \.parquet, \.csv, \.jsonl"),
        ({"output": "no/o.csv"}, "The folder .*no of the output does not exist: make it"),
        ({"output": "folder.csv"}, r"folder\.csv is a folder; expected is the name of a file"),
        ({"output": "s.jsonl", "overwrite": True}, r"s\.jsonl is the file of sessions itself"),
        ({"output": "there.csv"}, r"there\.csv exists: name another, or replace it with overwrite=True"),
        ({"exclude": [1]}, "exclude"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path, fake, options, expected):
    source = write_lines(tmp_path / "s.jsonl", rows_of(1))
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    before = source.read_bytes()
    options = {"output": "o.csv", **options}
    output = tmp_path / options.pop("output")
    with pytest.raises(InvalidOption, match=expected):
        recommend_file(source, output, fake.client(), progress=False, **options)
    assert sorted(os.listdir(tmp_path)) == ["folder.csv", "s.jsonl", "there.csv"]
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert source.read_bytes() == before


def test_what_is_missing_is_named_with_its_installation(tmp_path, fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    source = write_lines(tmp_path / "s.jsonl", rows_of(1))
    with pytest.raises(MissingPackage, match=r"need pyarrow.*pip install 'nextitem-client\[bulk\]'"):
        recommend_file(source, tmp_path / "o.parquet", fake.client(), progress=False)
    with pytest.raises(MissingPackage, match=r"needs tqdm.*pip install 'nextitem-client\[bulk\]', or .*--no-progress"):
        progress_bar(1, 0, shown=True)
    assert recommend_file(source, tmp_path / "o.csv", fake.client(), progress=False).sessions == 1
