"""Each source of docs/migrating/ has a page, a test and, where its library is another environment's, a lock."""

import re
import subprocess
import sys

import pytest

from tests.support.repository_files import ROOT

TESTS, PAGES = ROOT / "tests" / "migration", ROOT / "docs" / "migrating"
LOCKS = sorted(lock.stem for lock in TESTS.glob("*.lock"))


def run(*arguments: str) -> subprocess.CompletedProcess:
    """The script in a process of its own."""
    command = [sys.executable, "scripts/test-migration", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_script_knows_every_lock():
    assert {"recbole", "rectools"} <= set(LOCKS)
    assert run("--list").stdout.split() == LOCKS
    refused = run("lightfm")
    assert refused.returncode == 2
    assert f"unknown source lightfm, known are {', '.join(LOCKS)}" in refused.stderr


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_exact_versions_with_hashes_a_test_and_a_page(name):
    blocks = re.findall(r"^([\w.-]+==\S+).*((?:\n    .*)*)", (TESTS / f"{name}.lock").read_text(), re.MULTILINE)
    assert blocks
    assert [pin for pin, hashes in blocks if "--hash=sha256:" not in hashes] == []
    assert (TESTS / f"test_{name}.py").is_file()
    assert (PAGES / f"{name}.md").is_file()
    assert f"({name}.md)" in (PAGES / "README.md").read_text(encoding="utf-8")
