import bz2
import gzip
import lzma

import pytest

from nextitem_training.errors import DataError
from nextitem_training.tables.selection import CSV, JSON_LINES, PARQUET, TSV, select


def test_what_tools_leave_in_a_folder_is_not_read(tmp_path):
    for name in (
        "day=1/part-0.csv",
        "part-1.csv",
        ".ipynb_checkpoints/part-1-checkpoint.csv",
        "_delta_log/00000.checkpoint.parquet",
        "__MACOSX/part-1.csv",
        "._part-1.csv",
        "_SUCCESS.csv",
        "day=1/.part-0.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [source.path.relative_to(tmp_path).as_posix() for source in select(tmp_path)] == [
        "day=1/part-0.csv",
        "part-1.csv",
    ]


def test_a_folder_that_is_itself_hidden_is_read(tmp_path):
    folder = tmp_path / ".cache" / "_clicks"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("")
    assert len(select(folder)) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.parquet", PARQUET),
        ("a.PQ", PARQUET),
        ("a.csv", CSV),
        ("a.CSV.gz", CSV),
        ("a.tsv.bz2", TSV),
        ("a.jsonl.xz", JSON_LINES),
        ("a.ndjson", JSON_LINES),
    ],
)
def test_the_ending_says_the_format_and_the_compression(tmp_path, name, kind):
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(name.rsplit(".", 1)[-1], bytes)
    (tmp_path / name).write_bytes(pack(b"text"))
    (source,) = select(tmp_path / name)
    assert source.format == kind
    with source.open() as stream:
        assert stream.read() == b"text"


def test_files_of_other_kinds_are_left_out_and_told_of(tmp_path, caplog):
    for name in ("a.csv", "readme.txt", "b.parquet.gz"):
        (tmp_path / name).write_text("")
    with caplog.at_level("WARNING"):
        assert [source.path.name for source in select(tmp_path)] == ["a.csv"]
    assert "2 files in" in caplog.text
    assert "b.parquet.gz" in caplog.text


def test_a_path_without_interactions_is_refused(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        select(tmp_path / "none")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"a.txt is no file of interactions by its name.*\.parquet"):
        select(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"holds no interactions; expected .* with \.gz, \.bz2, \.xz behind\.$"):
        select(tmp_path)
    (tmp_path / "_x.csv").write_text("")
    with pytest.raises(DataError, match=r"1 whose names or folders begin with '.' or '_' are left out"):
        select(tmp_path)
