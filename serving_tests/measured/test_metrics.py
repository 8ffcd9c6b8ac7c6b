"""The bundle's own metrics beside Triton's: what was asked and answered, of every layout, on the real metrics endpoint."""

from __future__ import annotations

import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from nextitem_bundle.manifest import read_manifest
from nextitem_client import Client
from nextitem_server import TritonServer
from serving_tests.support.bundles import copied
from serving_tests.support.processes import running_triton
from serving_tests.support.raw_client import RawClient, Refused

NAMES = ("shop", "shop_torchscript", "shop_fused")
_SERIES = re.compile(r"^(nextitem_\w+)\{(.*)\} (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def measured(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton of its own, of which nobody else asks anything."""
    copy = tmp_path_factory.mktemp("measured") / "model_repository"
    for name in NAMES:
        copied(repository / name, copy)
    with running_triton(copy) as running:
        yield running


def counts(server: TritonServer, name: str) -> Counter[str]:
    """Each series of the bundle without the labels of the model, the models of a bundle added up."""
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for metric, labels, value in _SERIES.findall(text):
        known = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if known.pop("model").removesuffix("_features").removesuffix("_items") == name:
            assert known.pop("version") == "1"
            found[metric + "".join(f" {label}={value}" for label, value in known.items())] += round(float(value))
    return found


def since(server: TritonServer, name: str, before: Counter[str], series: str, wanted: int) -> Counter[str]:
    """What was added, as soon as this series has so many."""
    deadline = time.monotonic() + 10
    while True:
        added = counts(server, name)
        added.subtract(before)
        if added[series] >= wanted or time.monotonic() > deadline:
            return added
        time.sleep(0.2)


@pytest.mark.parametrize("name", NAMES)
def test_sessions_items_and_interactions_are_counted(name, measured, clicks):
    before = counts(measured, name)
    session = clicks[clicks.session_id == clicks.session_id.iloc[0]].drop(columns="session_id")
    known = session.iloc[[0] * 3].to_dict("list")
    foreign = known | {"item_id": ["nobody's"] * 3}
    with Client(measured.http_url, model=name) as client:
        answers = []
        for one in (known, known, foreign):
            answers.append(client.recommend(one, k=5))
            time.sleep(1.1)  # counts are sent once a second
    assert [answer.status for answer in answers] == ["ok", "ok", "cold"]
    added = since(measured, name, before, "nextitem_items_returned_total", 15)
    assert added["nextitem_sessions_total status=ok"] == 2
    assert added["nextitem_sessions_total status=cold"] == 1
    assert added["nextitem_items_returned_total"] == 15
    assert added["nextitem_interactions_total known=true"] == 6
    assert added["nextitem_interactions_total known=false"] == 3
    assert added["nextitem_session_length_count"] == 3
    assert added["nextitem_session_length_sum"] == 9
    assert added["nextitem_session_length_bucket le=2"] == 0
    assert added["nextitem_session_length_bucket le=3"] == added["nextitem_session_length_bucket le=+Inf"] == 3


@pytest.mark.parametrize("name", ["shop", "shop_fused"])
def test_the_catalogue_has_a_size_and_an_age(name, measured, repository):
    catalogue = read_manifest(repository, name, 1).catalogue
    shown = counts(measured, name)
    assert shown["nextitem_catalogue_items"] == catalogue.items
    assert shown["nextitem_catalogue_created_seconds"] == datetime.fromisoformat(catalogue.created).timestamp()
    assert 0 <= time.time() - shown["nextitem_catalogue_created_seconds"] < 86_400


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_request_is_counted_by_its_reason_and_as_nothing_else(name, measured):
    before = counts(measured, name)
    raw_client = RawClient("http", measured.http_url, name)
    with pytest.raises(Refused, match="missing input"):
        raw_client.ask({"item_id": np.array([["A13"]], dtype=object)})
    raw_client.close()
    added = since(measured, name, before, "nextitem_requests_refused_total reason=invalid", 1)
    assert {series for series, count in added.items() if count} == {"nextitem_requests_refused_total reason=invalid"}
