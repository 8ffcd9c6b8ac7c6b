from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from nextitem_bundle import lock as module
from nextitem_bundle.errors import BundleError
from nextitem_bundle.lock import locked

HOLDER = """
import pathlib, sys, time
from nextitem_bundle.lock import locked
with locked(pathlib.Path(sys.argv[1]), "shop"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_nothing_is_left_and_it_may_be_taken_again(tmp_path):
    for _ in range(2):
        with locked(tmp_path, "shop"):
            assert [path.name for path in tmp_path.iterdir()] == [".shop.lock"]
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locked(tmp_path, "shop"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_another_bundle_is_not_waited_for(tmp_path):
    with locked(tmp_path, "shop"), locked(tmp_path, "shop_two", pytest.fail):
        pass


def test_who_comes_second_says_so_and_waits(tmp_path):
    said, order, waiting = [], [], threading.Event()

    def second() -> None:
        with locked(tmp_path, "shop", lambda text: (said.append(text), waiting.set())):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path, "shop"):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert said == ["waiting until another export or activation of 'shop' ends"]


def test_many_at_once_come_one_after_the_other(tmp_path):
    """Each removes the file that others wait for, or have just opened."""
    inside, most, done = [], [], []

    def take() -> None:
        for _ in range(50):
            with locked(tmp_path, "shop"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
        done.append(1)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(done), max(most), len(most)) == (6, 1, 300)
    assert list(tmp_path.iterdir()) == []


def test_who_dies_lets_go(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        threading.Timer(0.3, os.kill, (holder.pid, signal.SIGKILL)).start()
        said = []
        with locked(tmp_path, "shop", said.append):
            assert holder.wait(10) == -signal.SIGKILL
        assert len(said) == 1
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_cannot_be_written(tmp_path):
    (tmp_path / "repository").write_text("")
    with pytest.raises(BundleError) as caught, locked(tmp_path / "repository", "shop"):
        pass
    assert str(caught.value).startswith(
        f"{tmp_path}/repository/.shop.lock cannot be made (Not a directory), which keeps"
    )
    assert "needs a repository that it can write to" in str(caught.value)


def test_a_file_system_without_locks_keeps_nothing_apart(tmp_path, monkeypatch):
    def refuse(handle, kind):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with locked(tmp_path, "shop"), locked(tmp_path, "shop", pytest.fail):
        pass
