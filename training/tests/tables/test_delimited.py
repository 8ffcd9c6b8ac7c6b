import gzip
import lzma

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.interactions import read_interactions

HEADER = "session_id,item_id,timestamp\n"
ROWS = "s1,7,2024-01-01 10:00:00\ns2,8,2024-01-02 10:00:00\n"


@pytest.fixture
def read(tmp_path):
    def of(text, name="x.csv", written_in="utf-8", **settings):
        content = text.encode(written_in)
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(name[-3:], bytes)
        (tmp_path / name).write_bytes(pack(content))
        return read_interactions(tmp_path / name, DataConfig(**settings))

    return of


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.csv.xz"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_with_which_the_columns_are_found_is_taken(read, name, separator):
    frame, dtypes = read((HEADER + ROWS).replace(",", separator), name)
    assert frame["session_id"].tolist() == ["s1", "s2"]
    assert dtypes == {"item_id": "int64", "timestamp": "datetime", "session_id": "string"}


def test_tsv_takes_tabs_and_a_separator_that_is_set_is_taken(read):
    text = "session_id\titem_id\ttimestamp\ta,b\n" + ROWS.replace(",", "\t").replace("00:00\n", "00:00\tx,y\n")
    assert read(text, "x.tsv")[0]["item_id"].tolist() == [7, 8]
    assert read((HEADER + ROWS).replace(",", "~"), separator="~")[0]["item_id"].tolist() == [7, 8]
    with pytest.raises(DataError, match=r"no column 'item_id'.*It has session_id,item_id,timestamp\.$"):
        read(HEADER + ROWS, separator=";")


def test_a_separator_that_is_not_found_is_told_of(read):
    with pytest.raises(DataError, match=r"taken apart at ','; if that is wrong set \[data\] separator"):
        read((HEADER + ROWS).replace(",", "~"))


def test_line_ends_quotes_and_byte_order_marks_of_other_programs(read):
    frame, _ = read(
        '\ufeffitem_id,session_id,"no\nte",timestamp\r\n"a,b",1,"x\ny",2024-01-01\r\nc,2,"say ""x""",2024-01-02\r\n'
    )
    assert frame["item_id"].tolist() == ["a,b", "c"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_encodings(read, encoding):
    text = "session_id,größe,timestamp\n1,süß,2024-01-01\n"
    frame, _ = read(text, written_in=encoding, encoding=encoding, item_column="größe")
    assert frame["größe"].tolist() == ["süß"]


def test_another_encoding_than_the_one_that_is_set_is_told_of(read):
    for text in (HEADER + "1,süß,2024-01-01\n", HEADER.replace("item_id", "item_id,größe") + "1,2,3,2024-01-01\n"):
        with pytest.raises(DataError, match=r"x.csv cannot be read as CSV: .*set \[data\] encoding .*'latin-1'"):
            read(text, written_in="latin-1")


def test_files_that_are_no_table_are_refused(read, tmp_path):
    with pytest.raises(DataError, match=r"x.csv has no first line with the names"):
        read("")
    with pytest.raises(DataError, match=r"holds no rows"):
        read(HEADER)
    with pytest.raises(DataError, match=r"cannot be read as CSV: .*Expected 3 columns, got 4"):
        read(HEADER + "1,2,3,4\n")
    with pytest.raises(DataError, match=r"cannot be read as CSV: .*field larger"):
        read(HEADER.strip() + "," + "x" * 200_000 + "\n")
    (tmp_path / "y.csv.gz").write_bytes(gzip.compress((HEADER + ROWS * 1000).encode())[:-20])
    with pytest.raises(DataError, match=r"y.csv.gz cannot be read as CSV: .*end-of-stream"):
        read_interactions(tmp_path / "y.csv.gz", DataConfig())


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["108787", "0"], [108787, 0]),
        (["0108787", "42"], ["0108787", "42"]),
        (["+1", "2"], ["+1", "2"]),
        ([" 1", "2"], [" 1", "2"]),
        (["1.0", "2"], ["1.0", "2"]),
        (["1e3", "2"], ["1e3", "2"]),
        (["-0", "2"], ["-0", "2"]),
        (["9223372036854775808", "2"], ["9223372036854775808", "2"]),
        (["true", "false"], ["true", "false"]),
        (["2024-01-01", "2024-01-02"], ["2024-01-01", "2024-01-02"]),
        (["NA", "DE"], ["NA", "DE"]),
        (["-7", "2"], [-7, 2]),
    ],
)
def test_an_id_is_what_stands_in_the_file(read, ids, expected):
    lines = "".join(f"1,{item},2024-01-01\n" for item in ids)
    assert read(HEADER + lines)[0]["item_id"].tolist() == expected


def test_nulls_among_integers(read):
    frame, dtypes = read(HEADER + "1,7,2024-01-01\n1,,2024-01-01\n1,NULL,2024-01-01\n")
    assert dtypes["item_id"] == "int64"
    assert frame["item_id"].isna().tolist() == [False, True, True]


def test_ids_are_integers_in_all_parts_or_in_none(read, tmp_path, caplog):
    (tmp_path / "a.csv").write_text(HEADER + "1,7,2024-01-01\n")
    (tmp_path / "b.csv").write_text(HEADER + "1,,2024-01-01\n1,08,2024-01-02\n")
    with caplog.at_level("INFO"):
        frame, dtypes = read_interactions(tmp_path, DataConfig())
    assert frame["item_id"].tolist() == ["7", None, "08"]
    assert dtypes["session_id"] == "int64"
    assert "'item_id' is read as text, since '08' is no integer as integers are written" in caplog.text


@given(st.lists(st.from_regex(r"\A[-+0-9. eNA]{0,20}\Z"), min_size=1, max_size=6))
def test_no_id_becomes_another_one(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("ids") / "x.csv"
    path.write_text(HEADER + "".join(f'1,"{item}",2024-01-01\n' for item in [*ids, "5"]))
    frame, dtypes = read_interactions(path, DataConfig())
    came = [None if pd.isna(found) else str(found) for found in frame["item_id"]]
    nulls = ("", "NA") if dtypes["item_id"] == "int64" else ("",)
    assert came == [None if item in nulls else item for item in [*ids, "5"]]
