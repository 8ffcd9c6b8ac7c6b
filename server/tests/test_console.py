import errno
import io
import os

import pytest

from nextitem_server import console
from nextitem_server.console import LONGEST_LOOK, LogFollower, finish, say

WARNING = 'W1130 05:09:17.594345 13203 server.cc:345] "%s"\n'
ACCEPT = "[warn] Error from accept() call: Too many open files\n"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "triton.log"
    path.write_text("")
    return path


def test_warnings_are_shown_and_other_lines_when_verbose(log):
    for verbose, expected in ((False, ["slow"]), (True, ["slow", "printed by a model"])):
        stream = io.StringIO()
        follower = LogFollower(log, stream, verbose=verbose)
        log.write_text(WARNING % "slow" + "printed by a model\n" + "half a li")
        follower.show_new_lines()
        shown = stream.getvalue().splitlines()
        assert (
            [any(words in line for line in shown) for words in expected]
            == [True] * len(expected)
            == [True] * len(shown)
        )


def test_a_line_that_triton_repeats_in_a_loop_is_told_once_with_what_to_do(log):
    stream = io.StringIO()
    follower = LogFollower(log, stream, verbose=True)
    for _ in range(3):
        with log.open("a") as more:
            more.write(ACCEPT * 1000)
        follower.show_new_lines()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("nextitem-serve: tritonserver has no file descriptor left for further connections")
    assert "ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of a container" in line


def test_of_a_flood_only_the_end_is_read(log):
    stream = io.StringIO()
    follower = LogFollower(log, stream)
    log.write_text(WARNING % "first" + ACCEPT * (2 * LONGEST_LOOK // len(ACCEPT)) + WARNING % "last")
    follower.show_new_lines()
    assert "last" in stream.getvalue()
    assert "first" not in stream.getvalue()


def test_a_log_that_was_cut_is_read_from_its_new_beginning(log):
    stream = io.StringIO()
    follower = LogFollower(log, stream)
    log.write_text(WARNING % "a longer line than the next" + "half")
    follower.show_new_lines()
    log.write_text(WARNING % "after")
    follower.show_new_lines()
    assert [line.rsplit('"')[1] for line in stream.getvalue().splitlines()] == ["a longer line than the next", "after"]


def test_a_log_that_is_not_there_yet(tmp_path):
    LogFollower(tmp_path / "none.log", io.StringIO()).show_new_lines()


def test_what_nobody_reads_any_more_is_dropped_now_and_at_the_end():
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    os.close(read)
    for _ in range(3):
        say("to nobody", stream)
    finish(stream)
    stream.close()
    say("to a closed one", stream)
    finish(stream)


def test_a_line_that_cannot_be_written_now_does_not_end_the_others():
    class Full(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(text)

    stream = Full()
    say("lost", stream)
    stream.full = False
    say("shown", stream)
    assert stream.getvalue() == "shown\n"


def test_what_is_left_at_the_end_is_dropped_where_it_cannot_be_written(monkeypatch):
    discarded = []
    monkeypatch.setattr(console, "_discard", discarded.append)

    class Broken(io.StringIO):
        def flush(self):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    stream = Broken()
    finish(stream)
    assert discarded == [stream]
