"""benchmarks/soak/ on the bundles of these tests, for seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak.__main__ import TARGETS, growth, peak
from serving_tests.support.bundles import copied
from serving_tests.support.made.shop import ROOT


@pytest.mark.alone
@pytest.mark.beside_the_server
def test_nothing_fails_and_every_malformed_request_is_refused_as_it_should_be(repository: Path, tmp_path: Path) -> None:
    file, few = tmp_path / "soak.json", tmp_path / "repository"
    for name in ("shop", "shop_fused"):
        copied(repository / name, few)
    command = [sys.executable, "-m", "benchmarks.soak", "--smoke", "--repository", few, "--json", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())["metrics"]
    assert set(TARGETS) <= set(found)
    assert found["well_formed"] > 100
    assert found["malformed"] > 10
    assert found["compared"] > 100


@pytest.mark.parametrize(
    ("memory_mb", "grown"),
    [
        ([90, 100, 100, 104, 101, 100], 0.04),
        ([90, 100, 90, 80, 80, 80], 0.0),
        ([90, 0, 80, 80, 80, 80], float("inf")),
        ([90] * 10 + [100, 100, 130, 100, 100] * 10, 0.0),  # a peak that goes again
        ([90] * 10 + [100 + 2 * (minute // 5) for minute in range(50)], 0.18),  # a leak
    ],
)
def test_growth_is_of_what_is_held_at_rest_after_the_first_sixth(memory_mb: list[float], grown: float) -> None:
    assert growth(memory_mb) == pytest.approx(grown)


def test_a_peak_is_told_beside_it() -> None:
    assert peak([150, 100, 100, 130, 100, 100]) == pytest.approx(0.3)
