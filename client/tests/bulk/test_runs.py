"""Bulk runs that meet failures, are interrupted, and go on."""

import errno
import json
import os
from unittest.mock import Mock

import pytest
from client.tests.support.rows import read_lines, rows_of, write_lines

from nextitem_client import InvalidOption, ServerUnavailable, UnexpectedResponse, cli
from nextitem_client.bulk import _parts, recommend_file
from nextitem_client.testing import FakeAnswer


def interrupted(fake, source, output, after: int, **options):
    """A run that ends after so many requests."""
    client, asked = fake.client(retries=0), len(fake.requests)
    recommend_many = client.recommend_many

    def until(*arguments, **options):
        if len(fake.requests) - asked >= after:
            raise KeyboardInterrupt
        return recommend_many(*arguments, **options)

    client.recommend_many = until
    with pytest.raises(KeyboardInterrupt):
        recommend_file(source, output, client, concurrency=1, progress=False, **options)


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
    for left in ("part-000002.failed.jsonl", f"part-000002.{kind}.tmp"):  # what a kill may leave
        (tmp_path / f"o.{kind}.parts" / left).write_text("half")
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
    (tmp_path / "o.jsonl.parts").mkdir()  # what ends while it removes them, after the request
    (tmp_path / "o.jsonl.parts" / "part-000000.jsonl").write_text("half")
    assert recommend_file(source, output, fake.client(), resume=True, progress=False).complete_before
    assert len(fake.requests) == asked
    recommend_file(source, output, fake.client(), overwrite=True, progress=False)
    assert output.read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == ["o.jsonl", "s.jsonl"]


def test_ctrl_c_right_after_a_part_was_placed(tmp_path, fake, small_parts, monkeypatch):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    replace = os.replace

    def replace_and_end(path, target):
        replace(path, target)
        if target.name == "part-000000.jsonl":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_parts.os, "replace", replace_and_end)
        with pytest.raises(KeyboardInterrupt):
            recommend_file(source, output, fake.client(), progress=False)
    assert recommend_file(source, output, fake.client(), resume=True, progress=False).resumed == 5


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_kill_at_any_step(tmp_path, fake, small_parts, monkeypatch, kind):
    """Every change of the disk is the last one once, and what is continued then is killed at its first one too."""
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    source = write_lines(tmp_path / "s.jsonl", [*rows_of(8), {"session_id": 8}, *rows_of(12)[18:]])
    recommend_file(source, tmp_path / f"whole.{kind}", fake.client(), progress=False)
    whole = [tmp_path / f"whole.{kind}{end}" for end in ("", ".failed.jsonl")]
    sync = os.fsync

    def killed(output, step, **options):
        """Whether the run got as far as this step. A kill leaves no time to close()."""
        taken = iter(range(step))

        def dying(call):
            def step_or_die(*arguments, **keywords):
                if next(taken, None) is None:
                    if call is sync:  # what is not synced may be lost
                        os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                    raise KeyboardInterrupt
                return call(*arguments, **keywords)

            return step_or_die

        with monkeypatch.context() as patch:
            for module, name in (
                (_parts.os, "fsync"), (_parts.os, "replace"), (_parts.Path, "unlink"), (_parts.shutil, "rmtree"),
            ):  # fmt: skip
                patch.setattr(module, name, dying(getattr(module, name)))
            patch.setattr(_parts.Parts, "close", lambda parts: parts._lock and parts._lock.close())
            try:
                recommend_file(source, output, fake.client(), progress=False, **options)
            except KeyboardInterrupt:
                return True
        return False

    steps = 0
    while killed(tmp_path / f"{steps}.{kind}", steps):
        output = tmp_path / f"{steps}.{kind}"
        killed(output, 0, resume=True)
        recommend_file(source, output, fake.client(), resume=True, progress=False)
        found = [output, tmp_path / f"{output.name}.failed.jsonl"]
        assert [path.read_bytes() for path in found] == [path.read_bytes() for path in whole], steps
        assert not _parts.is_unfinished(output), steps
        steps += 1
    assert steps > 15


def test_ids_of_one_hash_are_counted_as_two_sessions_when_all_was_done(tmp_path, fake, small_parts, monkeypatch):
    rows = [{"session_id": session, "item_id": "a"} for session in (-1, -2, 5)]  # Python gives -1 and -2 one hash
    source, output = write_lines(tmp_path / "s.jsonl", rows), tmp_path / "o.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(_parts.Parts, "finish", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            recommend_file(source, output, fake.client(), progress=False)
    report = recommend_file(source, output, fake.client(), resume=True, progress=False)
    assert (report.resumed, report.sessions) == (3, 3)
    assert [row["session_id"] for row in read_lines(output)] == [-1, -2, 5]


@pytest.mark.parametrize("lost", ["part-000000.jsonl", "part-000000.failed.jsonl"])
def test_a_part_that_is_lost_is_done_again_with_all_behind_it(tmp_path, fake, small_parts, lost):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(19)), tmp_path / "o.jsonl"
    recommend_file(source, tmp_path / "whole.jsonl", fake.client(), progress=False)
    interrupted(fake, source, output, after=12)
    assert (tmp_path / "o.jsonl.parts" / "part-000001.jsonl").exists()
    (tmp_path / "o.jsonl.parts" / lost).unlink()
    assert recommend_file(source, output, fake.client(), resume=True, progress=False).resumed == 0
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_overwrite_drops_what_another_request_has_left(tmp_path, fake, small_parts, monkeypatch):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    interrupted(fake, source, output, after=8)
    with monkeypatch.context() as patch:
        patch.setattr(_parts.Parts, "close", lambda parts: parts._lock.close())  # a kill leaves no time for it
        interrupted(fake, source, output, after=0, k=1, overwrite=True)
    report = recommend_file(source, output, fake.client(), k=1, resume=True, progress=False)
    assert (report.resumed, report.sessions) == (0, 12)
    assert {row["rank"] for row in read_lines(output)} == {1}


def test_input_that_changed_since_is_refused(tmp_path, fake, small_parts):
    source, output = write_lines(tmp_path / "s.jsonl", rows_of(12)), tmp_path / "o.jsonl"
    interrupted(fake, source, output, after=8)
    left = sorted(os.listdir(tmp_path / "o.jsonl.parts"))
    write_lines(source, rows_of(13))
    with pytest.raises(InvalidOption, match=r"asked for something else: bytes was \d+ and is \d+; modified_ns was"):
        recommend_file(source, output, fake.client(), resume=True, progress=False)
    assert sorted(os.listdir(tmp_path / "o.jsonl.parts")) == left, "a refusal takes nothing away"


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
    calls = {"begin": 1, "add": 4, "resume": 1, "finish": 8}[while_in]
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


def test_the_summary_is_a_sentence_json_or_left_out(tmp_path, fake, monkeypatch, capsys):
    source = write_lines(tmp_path / "s.jsonl", rows_of(2))
    monkeypatch.setattr(cli, "_client", lambda arguments: fake.client())
    printed = []
    for options in (["--no-progress"], ["--no-progress", "--json"], ["--quiet"]):  # tqdm need not be there
        output = tmp_path / f"o{len(printed)}.csv"
        assert cli.main(["--sessions", str(source), "--output", str(output), *options]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == f"{tmp_path / 'o0.csv'}: 2 sessions answered\n"
    report = {"output": str(tmp_path / "o1.csv"), "sessions": 2, "failed": 0, "resumed": 0, "failures": None}
    assert json.loads(printed[1]) == {**report, "complete_before": False}
    assert printed[2] == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--resume"], "--resume is for whole files and needs --sessions and --output"),
        (["--overwrite"], "--overwrite is for whole files"),
        (["--no-progress"], "--no-progress is for whole files"),
        (["--output", "o.csv"], "--sessions is missing: --sessions FILE and --output FILE belong together"),
        (["--sessions", "s.csv"], "--output is missing"),
        (["--sessions", "s.csv", "--output", "o.csv", "--session", "s.json"], "--session is for single sessions"),
        (["--sessions", "s.csv", "--output", "o.csv"], "The file of sessions s.csv does not exist"),
    ],
)
def test_options_of_the_command(fake, monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(cli, "_client", lambda arguments: fake.client())
    assert cli.main(arguments) == 2
    assert f"nextitem-recommend: {expected}" in capsys.readouterr().err
