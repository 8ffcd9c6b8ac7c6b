"""The serving benchmark, whose own servers take seconds to start: of each kind one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.benchmark_smokes import figures, kept, smoke

#: The figures in benchmarks/results/serving.json that these servers have, too.
FOUND = r"(inprocess\.|fused\.max_rate|({})\.memory_mb)"


@pytest.mark.beside_the_server
@pytest.mark.parametrize(
    "peers", [(), pytest.param(("fastapi_ort", "noop_ensemble"), marks=pytest.mark.slow)], ids=["ours", "peers"]
)
def test_one_server_of_each_kind_is_measured_and_the_figures_have_the_names_of_the_kept_ones(
    peers: tuple[str, ...], tmp_path: Path
) -> None:
    servers = ("fused", "noop", *peers)
    smoke("serving", "--json", tmp_path / "figures.json", "--only", *servers)
    assert kept("serving", FOUND.format("|".join(servers))) - set(figures(tmp_path / "figures.json")) == set()
