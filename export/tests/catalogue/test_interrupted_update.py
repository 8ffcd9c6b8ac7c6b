"""An update that is killed at any moment: the repository answers as before, and holds the new version whole or not at all."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from nextitem_bundle.checksums import verify
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.versions import active_version, versions_of

COMMAND = [sys.executable, "-m", "nextitem_export.catalogue.cli", "update"]
#: The command, which kills itself before the move with this number.
KILLED_AT_A_MOVE = """
import itertools, os, signal, sys
replace, moves = os.replace, itertools.count()
def kill(source, target):
    if next(moves) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
from nextitem_export.catalogue import cli, update
os.replace = kill
sys.exit(cli.main(sys.argv[2:]))
"""
#: Moments at which an update is killed.
ROUNDS = 50


@pytest.fixture
def place(bundle, tmp_path) -> list[str]:
    """The arguments of an update of a copy of the shop."""
    shutil.copytree(bundle.repository, tmp_path / "repository")
    pd.DataFrame({"item_id": ["ø98", "ø99"], "kind": ["a", "b"]}).to_parquet(tmp_path / "items.parquet")
    return [
        str(tmp_path / "items.parquet"), "--partial", "--group", "kind", "--repository", str(tmp_path / "repository"),
        "--name", "shop",
    ]  # fmt: skip


def repository_of(place: list[str]) -> Path:
    return Path(place[place.index("--repository") + 1])


def check(repository: Path, before: dict, shop) -> bool:
    """Whether the new version is there; fails where what was there is not, or the new version is not whole."""
    after = shop.snapshot(repository)
    assert {path: after.get(path) for path in before} == before
    assert active_version(repository, "shop") == 1
    versions = versions_of(repository, "shop")
    assert versions in ([1], [1, 2])
    for version in versions:
        verify(repository, read_manifest(repository, "shop", version), answers=version == 1)
    return len(versions) == 2


def finish(place: list[str], repository: Path) -> None:
    """The next update goes on from what is left."""
    done = subprocess.run([*COMMAND, *place, "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    newest = max(versions_of(repository, "shop"))
    manifest = read_manifest(repository, "shop", newest)
    verify(repository, manifest, answers=False)
    assert newest > 1


@pytest.mark.parametrize("move", range(4))
def test_a_kill_between_any_two_moves_leaves_a_whole_repository(place, shop, move):
    repository = repository_of(place)
    before = shop.snapshot(repository)
    words = [sys.executable, "-c", KILLED_AT_A_MOVE, str(move), "update", *place]
    assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert not check(repository, before, shop)
    if move in (0, 3):
        finish(place, repository)


@pytest.mark.slow
def test_a_kill_at_a_random_moment_leaves_a_whole_repository(place, shop):
    repository = repository_of(place)
    before = shop.snapshot(repository)
    kept = repository.with_name("kept")
    shutil.copytree(repository, kept)
    began = time.monotonic()
    finish(place, repository)
    whole_s = time.monotonic() - began
    moments = random.Random(0)
    written = 0
    for _ in range(ROUNDS):
        shutil.rmtree(repository)
        shutil.copytree(kept, repository)
        process = subprocess.Popen([*COMMAND, *place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole_s * moments.uniform(0.1, 1.1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        written += check(repository, before, shop)
    finish(place, repository)
    assert 0 < written < ROUNDS, "some were killed before the version was there, and some after"
