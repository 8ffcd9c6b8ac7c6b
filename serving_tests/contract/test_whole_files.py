"""nextitem-recommend --sessions: whole files, from a running Triton and from a bundle, through kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextitem_client import OfflineClient
from serving_tests.support.commands import BIN, run_command
from serving_tests.support.ranking import SCORE_TOLERANCE

#: The id of a session that every way refuses.
REFUSED = "too long an id"


@pytest.fixture(scope="module")
def source(clicks: pd.DataFrame, tmp_path_factory) -> Path:
    """Some thousand sessions in three parts; one is scattered over the file, one cannot be answered, one has no id."""
    frame = clicks.assign(session_id=clicks.session_id.astype(str))
    scattered = frame[frame.session_id == frame.session_id.iloc[0]]
    refused = frame.tail(2).assign(session_id=REFUSED, item_id="x" * 2_000)
    nobody = frame.tail(1).assign(session_id=None)
    half = len(frame) // 2
    rows = [frame.iloc[:half], refused, nobody, frame.iloc[half:], scattered]
    path = tmp_path_factory.mktemp("whole") / "sessions.parquet"
    pd.concat(rows, ignore_index=True).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def whole(source: Path, repository: Path) -> Path:
    """What a run without interruption makes of it, from the bundle."""
    output = source.with_name("whole.parquet")
    result = run_command("nextitem-recommend", *arguments("bundle", None, repository), *files(source, output))
    assert result.returncode == 1, result.stderr
    assert "2 failed, see" in result.stdout
    return output


def arguments(way: str, server, repository: Path) -> tuple:
    if way == "bundle":
        return "--bundle", repository / "shop"
    return "--url", getattr(server, f"{way}_url"), "--model", "shop"


def files(source: Path, output: Path) -> tuple:
    return "--sessions", source, "--output", output, "--k", 5


def failures(output: Path) -> list[dict]:
    return [json.loads(line) for line in output.with_name(f"{output.name}.failed.jsonl").read_text().splitlines()]


def assert_same_file(output: Path, expected: Path) -> None:
    """Equal but for the last bits of scores: a server may compute several requests at once."""
    one, other = pd.read_parquet(output), pd.read_parquet(expected)
    pd.testing.assert_frame_equal(one.drop(columns="score"), other.drop(columns="score"))
    np.testing.assert_allclose(one.score, other.score, rtol=0, atol=SCORE_TOLERANCE)
    assert failures(output) == failures(expected)


def test_the_file_holds_each_session_once_in_order(source, whole, repository) -> None:
    rows, found = pd.read_parquet(source), pd.read_parquet(whole)
    ids = rows.session_id.drop_duplicates().tolist()
    answered = [one for one in ids if one not in (REFUSED, None)]
    assert len(answered) > 2 * 2_048, "several parts"
    assert found.session_id.drop_duplicates().tolist() == answered
    assert (found.groupby("session_id", sort=False)["rank"].agg(list).map(tuple) == tuple(range(1, 6))).all()
    assert [failure["session_id"] for failure in failures(whole)] == [REFUSED, None]
    assert failures(whole)[0]["reason"].startswith("input 'item_id' has 2000 bytes in session 0, interaction 0")
    assert failures(whole)[1]["reason"] == "1 interactions have no session id."
    with OfflineClient(repository / "shop") as client:
        for one in (answered[0], answered[2_050], answered[-1]):  # the first is the scattered one
            session = rows[rows.session_id == one].drop(columns="session_id").to_dict("list")
            assert found[found.session_id == one].item_id.tolist() == client.recommend(session, k=5).item_ids


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_a_server_gives_the_file_that_the_bundle_gives(source, whole, server, repository, tmp_path, way) -> None:
    output = tmp_path / "o.parquet"
    result = run_command("nextitem-recommend", *arguments(way, server, repository), *files(source, output))
    assert result.returncode == 1, result.stderr
    assert_same_file(output, whole)


@pytest.mark.parametrize(("way", "how"), [("bundle", "SIGKILL"), ("http", "SIGKILL"), ("grpc", "SIGINT")])
def test_a_run_that_is_ended_in_the_middle_goes_on(source, whole, server, repository, tmp_path, way, how) -> None:
    output = tmp_path / "o.parquet"
    command = [*arguments(way, server, repository), *files(source, output)]
    for _ in range(3):  # on a busy machine a run may be through before its signal arrives
        code, said = ended(command, output, signal.Signals[how])
        if code != 1 or not output.exists():
            break
        assert said == "", "the signal got lost"
        for left in tmp_path.iterdir():
            left.unlink()
    assert code == (-signal.SIGKILL if how == "SIGKILL" else 130)
    assert said == (
        "" if how == "SIGKILL" else "nextitem-recommend: interrupted; the same command with --resume continues.\n"
    )
    assert not output.exists()
    resumed = run_command("nextitem-recommend", *command, "--resume")
    assert resumed.returncode == 1, resumed.stderr
    assert "by an earlier run" in resumed.stdout
    if way == "bundle":
        assert output.read_bytes() == whole.read_bytes()
    assert_same_file(output, whole)
    assert sorted(os.listdir(tmp_path)) == ["o.parquet", "o.parquet.failed.jsonl"]


def test_an_output_that_is_complete(source, whole, repository) -> None:
    command = ["nextitem-recommend", *arguments("bundle", None, repository), *files(source, whole)]
    before = whole.read_bytes()
    refused, again = run_command(*command), run_command(*command, "--resume")
    assert refused.returncode == 2
    assert "exists: name another, or replace it with overwrite=True (--overwrite)" in refused.stderr
    assert (again.returncode, "is complete already; 2 failed" in again.stdout) == (1, True)
    assert whole.read_bytes() == before


def ended(command: list, output: Path, how: signal.Signals) -> tuple[int, str]:
    """The exit code and the messages of a run that gets this signal when its first part is there."""
    started = subprocess.Popen(
        [str(part) for part in (BIN / "nextitem-recommend", *command)], stderr=subprocess.PIPE, text=True,
        # What a shell starts in the background ignores SIGINT, and so would all that these tests start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        wait_for_a_part(started, output)
        started.send_signal(how)
        said = started.communicate(timeout=60)[1]
    finally:
        started.kill()
    return started.returncode, said


def wait_for_a_part(started: subprocess.Popen, output: Path) -> None:
    part = output.with_name(f"{output.name}.parts") / "part-000000.parquet"
    while started.poll() is None:
        if part.exists():
            return
        time.sleep(0.005)
    raise AssertionError(f"it ended by itself: {started.stderr.read()}")
