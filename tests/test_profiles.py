"""How hypothesis draws is said once, in conftest.py, so that `make test` has the same examples each time."""

import os
import re
import subprocess
import sys

import pytest
from hypothesis import settings

from tests.support.repository_files import ROOT, our_files, text_of


def test_every_day_s_tests_draw_the_same_examples_and_the_long_ones_others():
    quick, deep = settings.get_profile("quick"), settings.get_profile("deep")
    assert quick.derandomize
    assert not deep.derandomize
    assert deep.max_examples > quick.max_examples
    recipe = re.search(r"^test-all:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert "--hypothesis-profile=deep --hypothesis-seed=$(SEED)" in recipe
    assert "echo" in recipe.split("pytest")[0]  # the seed is printed


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}], ids=["a desk", "a merge check"])
def test_where_the_tests_run_changes_nothing_of_the_profiles(environment):
    asked = "[s.get_profile(p).derandomize for p in ('quick', 'deep')]"
    script = f"import conftest; from hypothesis import settings as s; print({asked})"
    clean = {name: value for name, value in os.environ.items() if name != "CI"}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=clean | environment, capture_output=True, text=True
    )
    assert run.stdout.strip() == "[True, False]", run.stderr


def test_no_test_has_a_number_of_its_own_but_for_a_reason():
    allowed = {
        "conftest.py",
        "tests/test_profiles.py",
        # A few for every day, derandomized, and as many as minutes allow for the long ones.
        "export/tests/bundles/test_whole_workflows.py",
        "export/tests/workflow/tracing/test_random.py",
        "export/tests/catalogue/test_drawn_updates.py",  # each example writes versions of a bundle
        "export/tests/support/harness.py",  # where each example asks NVTabular
        "serving_tests/contract/test_random_requests.py",  # each is asked of eight bundles
    }
    found = [path for path in our_files() if path.suffix == ".py" and "max_examples=" in (text_of(path) or "")]
    assert {path.relative_to(ROOT).as_posix() for path in found} <= allowed
