"""Bulk runs that meet failures, are interrupted, and go on."""

import errno
import os
from unittest.mock import Mock

import pytest
from client_rows import read_lines, rows_of, write_lines

from nextitem_client import InvalidOption, ServerUnavailable, UnexpectedResponse, cli
from nextitem_client.bulk import _parts, recommend_file
from nextitem_client.testing import FakeAnswer


def interrupted(fake, source, output, after: int):
    """A run that ends after so many requests."""
    client, asked = fake.client(retries=0), len(fake.requests)
    recommend_many = client.recommend_many

    def until(*arguments, **options):
        if len(fake.requests) - asked >= after:
            raise KeyboardInterrupt
        return recommend_many(*arguments, **options)

    client.recommend_many = until
    with pytest.raises(KeyboardInterrupt):
        recommend_file(source, output, client, concurrency=1, progress=False)


def test_failures_are_listed_and_their_neighbours_answered(tmp_path, fake, small_parts):
    rows = [*rows_of(7), {"session_id": "", "item_id": 5}, {"item_id": "lost"}, {"session_id": "z"}, *rows_of(8)[14:]]
    rows = [{**row, "session_id": str(row["session_id"])} if "session_id" in row else row for row in rows]
    source = write_lines(tmp_path / "s.jsonl", rows)
    report = recommend_file(source, tmp_path / "o.jsonl", fake.client(), progress=False)
    assert (report.sessions, report.failed) == (11, 3)
    assert report.failures == tmp_path / "o.jsonl.failed.jsonl"
    assert read_lines(report.failures) == [
        {"session_id": "", "error": "InvalidSession",
         "reason": "Feature item_id of event 0 of session 0 is 5 (int); expected is a str, or None."},
        {"session_id": None, "error": "InvalidSession", "reason": "1 interactions have no session id."},
        {"session_id": "z", "error": "InvalidSession",
         "reason": "Feature item_id of event 0 of session 0 is absent (Absent); expected is a str, or None."},
    ]  # fmt: skip
    assert {row["session_id"] for row in read_lines(tmp_path / "o.jsonl")} == {str(n) for n in range(8)}
    again = recommend_file(source, tmp_path / "o.jsonl", fake.client(), resume=True, progress=False)
    assert (again.complete_before, again.sessions, again.failed, again.failures) == (True, None, 3, report.failures)
    good = write_lines(tmp_path / "s.jsonl", rows_of(2))
    recommend_file(good, tmp_path / "o.jsonl", fake.client(), overwrite=True, progress=False)
    assert not report.failures.exists(), "of another run"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_an_interrupted_run_continues_to_the_same_file(tmp_path, fake, small_parts, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    rows = [*rows_of(8), {"session_id": 8}, *rows_of(19)[18:]]
    source = write_lines(tmp_path / "s.jsonl", rows)
    recommend_file(source, tmp_path / f"whole.{kind}", fake.client(), progress=False)
    output = tmp_path / f"o.{kind}"
    interrupted(fake, source, output, after=12)
    assert not output.exists()
    with (tmp_path / f"o.{kind}.parts" / "journal.jsonl").open("a") as torn:
        torn.write('{"number": 7, "ses')  # what a kill may leave
    with pytest.raises(InvalidOption, match=r"holds an unfinished run: continue it with resume=True \(--resume\)"):
        recommend_file(source, output, fake.client(), progress=False)
    with pytest.raises(InvalidOption, match=r"asked for something else: k was 2 and is 1\. Repeat its command"):
        recommend_file(source, output, fake.client(), k=1, resume=True, progress=False)
    asked = len(fake.requests)
    report = recommend_file(source, output, fake.client(), resume=True, progress=False)
    assert (report.resumed, report.sessions, report.failed) == (10, 19, 1)
    assert len(fake.requests) - asked == 9
    assert output.read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()
    failed = [tmp_path / f"{name}.{kind}.failed.jsonl" for name in ("o", "whole")]
    assert failed[0].read_bytes() == failed[1].read_bytes()
    assert not (tmp_path / f"o.{kind}.parts").exists()


def test_a_server_that_goes_away_ends_the_run_and_loses_nothing(tmp_path, fake, small_parts):
    source = write_lines(tmp_path / "s.jsonl", rows_of(4))
    fake.fail(ServerUnavailable("down"))
    with pytest.raises(ServerUnavailable, match="down"):
        recommend_file(source, tmp_path / "o.jsonl", fake.client(retries=0), progress=False)
    assert os.listdir(tmp_path) == ["s.jsonl"], "nothing was done, so there is nothing to continue"
    assert recommend_file(source, tmp_path / "o.jsonl", fake.client(), resume=True, progress=False).sessions == 4


def test_a_model_that_is_replaced_meanwhile(tmp_path, fake, small_parts):
    def answer(request):
        fake.version = "2" if len(fake.requests) > 4 else "1"
        return FakeAnswer(["x"])

    fake.answer = answer
    source = write_lines(tmp_path / "s.jsonl", rows_of(9))
    with pytest.raises(UnexpectedResponse, match="Version 2 of the model fake took the place of 1 during the run"):
        recommend_file(source, tmp_path / "o.jsonl", fake.client(), concurrency=1, progress=False)


def test_a_run_that_ends_while_it_finishes(tmp_path, fake, small_parts, monkeypatch):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(_parts.Parts, "_drop", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # the output stands there, and the parts too
            recommend_file(source, output, fake.client(), progress=False)
    whole, asked = output.read_bytes(), len(fake.requests)
    report = recommend_file(source, output, fake.client(), resume=True, progress=False)
    assert (report.resumed, report.sessions, output.read_bytes()) == (12, 12, whole)
    (tmp_path / "o.jsonl.parts").mkdir()  # what ends while it removes them, after the journal
    (tmp_path / "o.jsonl.parts" / "part-000000.jsonl").write_text("half")
    assert recommend_file(source, output, fake.client(), resume=True, progress=False).complete_before
    assert len(fake.requests) == asked
    recommend_file(source, output, fake.client(), overwrite=True, progress=False)
    assert output.read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == ["o.jsonl", "s.jsonl"]


def test_ctrl_c_right_after_a_part_was_recorded(tmp_path, fake, small_parts, monkeypatch):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    append = _parts.Parts._append

    def append_and_end(self, entry):
        append(self, entry)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_parts.Parts, "_append", append_and_end)
        with pytest.raises(KeyboardInterrupt):
            recommend_file(source, output, fake.client(), progress=False)
    assert recommend_file(source, output, fake.client(), resume=True, progress=False).resumed == 5


def test_a_part_that_is_lost(tmp_path, fake, small_parts):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    interrupted(fake, source, output, after=4)
    (tmp_path / "o.jsonl.parts" / "part-000000.jsonl").unlink()
    with pytest.raises(InvalidOption, match=r"has lost part-000000\.jsonl, so it cannot be continued: start anew"):
        recommend_file(source, output, fake.client(), resume=True, progress=False)
    assert (tmp_path / "o.jsonl.parts" / "journal.jsonl").exists(), "a refusal takes nothing away"
    assert recommend_file(source, output, fake.client(), overwrite=True, progress=False).resumed == 0


def test_two_runs_do_not_write_one_output(tmp_path, fake, small_parts):
    pytest.importorskip("fcntl")
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    refused = []

    def answer(request):
        if not refused:
            for option in ("resume", "overwrite"):
                with pytest.raises(InvalidOption, match=r"Another run is writing to .*o\.jsonl\.parts") as caught:
                    recommend_file(source, output, fake.client(), progress=False, **{option: True})
                refused.append(caught)
        return FakeAnswer(request.session["item_id"])

    fake.answer = answer
    assert recommend_file(source, output, fake.client(), concurrency=1, progress=False).sessions == 12
    assert len(refused) == 2
    assert len({row["session_id"] for row in read_lines(output)}) == 12


def test_an_output_that_is_older_than_its_sessions(tmp_path, fake):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(1)), tmp_path / "o.jsonl"
    recommend_file(source, output, fake.client(), progress=False)
    later = output.stat().st_mtime_ns + 1_000_000_000
    os.utime(source, ns=(later, later))
    with pytest.raises(InvalidOption, match=r"is complete, but older than .*s\.jsonl.* overwrite=True \(--overwrite\)"):
        recommend_file(source, output, fake.client(), resume=True, progress=False)
    assert recommend_file(source, output, fake.client(), overwrite=True, progress=False).sessions == 1


@pytest.mark.parametrize("while_in", ["begin", "add", "resume", "finish"])
def test_a_disk_that_is_full(tmp_path, fake, small_parts, monkeypatch, while_in):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    if while_in == "resume":
        interrupted(fake, source, output, after=7)
    calls = {"begin": 1, "add": 5, "resume": 1, "finish": 11}[while_in]
    left = iter(range(calls - 1))

    def fsync(descriptor):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_parts.os, "fsync", fsync)
        cure = (
            "Choose an output in a folder" if while_in == "begin" else "What is done is kept: make room .*resume=True"
        )
        with pytest.raises(OSError, match=rf"parts cannot be written \(No space left on device\)\. {cure}"):
            recommend_file(source, output, fake.client(), resume=while_in == "resume", progress=False)
    assert not output.exists()
    assert (tmp_path / "o.jsonl.parts").exists() == (while_in != "begin")
    report = recommend_file(source, output, fake.client(), resume=True, progress=False)
    assert report.resumed == {"begin": 0, "add": 5, "resume": 5, "finish": 12}[while_in]
    assert {row["session_id"]: None for row in read_lines(output)} == dict.fromkeys(range(12))


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_command_says_how_to_continue(tmp_path, fake, monkeypatch, capsys, overwrite):
    source = write_lines(tmp_path / "s.jsonl", rows_of(1))
    client = fake.client()
    monkeypatch.setattr(client, "recommend_many", Mock(side_effect=KeyboardInterrupt))
    monkeypatch.setattr(cli, "_client", lambda arguments: client)
    arguments = ["--sessions", str(source), "--output", str(tmp_path / "o.csv"), "--no-progress"]
    assert cli.main(arguments + ["--overwrite"] * overwrite) == 130
    said = capsys.readouterr().err
    assert said.startswith("nextitem-recommend: interrupted; the same command with --resume")
    assert (" for --overwrite" in said) == overwrite


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--resume"], "--resume is for whole files and needs --sessions and --output"),
        (["--overwrite"], "--overwrite is for whole files"),
        (["--no-progress"], "--no-progress is for whole files"),
        (["--output", "o.csv"], "--sessions is missing: --sessions FILE and --output FILE belong together"),
        (["--sessions", "s.csv"], "--output is missing"),
        (["--sessions", "s.csv", "--output", "o.csv", "--json"], "--session and --json are for single sessions"),
        (["--sessions", "s.csv", "--output", "o.csv"], "The file of sessions s.csv does not exist"),
    ],
)
def test_options_of_the_command(fake, monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(cli, "_client", lambda arguments: fake.client())
    assert cli.main(arguments) == 2
    assert f"nextitem-recommend: {expected}" in capsys.readouterr().err
