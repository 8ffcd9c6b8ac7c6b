"""What runs by itself: the hooks before a commit, the workflow, dependabot."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.repository_files import ROOT

BIN = Path(sys.executable).parent
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
DEPENDABOT = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))


def hooks() -> list[dict]:
    """All of them; nothing is downloaded for a local one."""
    assert [repository["repo"] for repository in HOOKS["repos"]] == ["local"]
    return HOOKS["repos"][0]["hooks"]


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook["id"])
def test_a_hook_runs_a_tool_of_the_environment_on_files_that_are_there(hook):
    program, *arguments = shlex.split(hook["entry"])
    assert hook["language"] == "system"
    assert (BIN / program.removeprefix(".venv/bin/")).exists()
    missing = [word for word in arguments if word.startswith("tests/") and not (ROOT / word).is_file()]
    assert not missing


def test_the_workflow_runs_what_has_to_pass_on_both_pythons():
    job = JOBS["ci"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert job["strategy"]["matrix"]["python"] == ["3.10", "3.11"]


def test_the_workflow_names_targets_and_files_that_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    for target in re.findall(r"\bmake ([\w-]+)", "\n".join(lines)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for file in re.findall(r"(?<!\S)((?:tests|\.ci)/\S+)", "\n".join(lines)):
        assert (ROOT / file).is_file()


def test_dependabot_looks_at_folders_that_are_there():
    for update in DEPENDABOT["updates"]:
        for folder in update.get("directories", [update.get("directory")]):
            assert (ROOT / folder.strip("/")).is_dir()
