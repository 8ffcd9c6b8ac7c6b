"""How counts are sent, with a stand-in for the module that exists inside Triton alone; serving_tests read the real ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from nextitem_bundle.runtime.counters import LENGTHS, METRICS, Counters
from nextitem_bundle.runtime.steps import CatalogueAge
from nextitem_bundle.runtime.triton.metrics import (
    GAUGES,
    RESTARTS_FOLDER,
    CatalogueGauges,
    Metrics,
    RestartCount,
    restarts_of,
)


class Metric:
    def __init__(self, sent, name, labels) -> None:
        self._sent, self._key = sent, (name, *sorted(labels.items()))
        sent.setdefault(self._key, 0)  # processes of a model share a series

    def value(self) -> int:
        return self._sent[self._key]

    def increment(self, count) -> None:
        assert count, "a message for nothing"
        self._sent[self._key] += count

    def set(self, value) -> None:
        self._sent[self._key] = value


class Clock:
    """Stands still."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def utils(sent):
    class Family:
        COUNTER, GAUGE = "counter", "gauge"

        def __init__(self, name, description, kind) -> None:
            assert description
            assert kind == ("gauge" if name in GAUGES else "counter")
            self._name = name

        def Metric(self, labels):  # noqa: N802  Triton's own name
            return Metric(sent, self._name, labels)

    return SimpleNamespace(MetricFamily=Family)


def test_counts_are_added_up_and_sent_with_their_labels():
    sent, counters = {}, Counters()
    metrics = Metrics(utils(sent), counters, {"model": "shop"})
    for _ in range(3):
        counters.refused("busy")
    metrics.send_if_due()
    assert sent == {("nextitem_requests_refused_total", ("model", "shop"), ("reason", "busy")): 3}


def test_counts_are_sent_once_a_second_at_most():
    sent, counters, clock = {}, Counters(), Clock()
    metrics = Metrics(utils(sent), counters, {}, clock)
    key = ("nextitem_requests_refused_total", ("reason", "busy"))
    for later_s, due in ((0.0, 1), (0.9, 1), (0.2, 3)):
        clock.now_s += later_s
        counters.refused("busy")
        metrics.send_if_due()
        assert sent[key] == due


def test_what_has_not_been_seen_yet_stands_at_0():
    sent, counters, clock = {}, Counters(), Clock()
    metrics = Metrics(utils(sent), counters, {}, clock)
    for _ in range(2):
        counters.read(np.array([1]), np.array([[3]]))
        metrics.send_if_due()
        clock.now_s += 2
    name = "nextitem_interactions_total"
    assert (sent[name, ("known", "true")], sent[name, ("known", "false")]) == (2, 0)
    assert sum(key[0] == "nextitem_session_length_bucket" for key in sent) == len(LENGTHS) + 1


def test_the_first_process_of_a_model_shows_its_restarts(tmp_path, monkeypatch):
    sent, key = {}, ("nextitem_restarts_total", ("model", "shop"))
    monkeypatch.setenv(RESTARTS_FOLDER, str(tmp_path))
    for told, shown in ((None, 0), ("1", 1), ("1", 1), ("3", 3)):
        if told is not None:
            (tmp_path / "shop").write_text(told)
        for instance in ("shop_0_0", "shop_0_1"):
            RestartCount(utils(sent), {"model": "shop"}, instance, restarts_of("shop"))
        assert sent == {key: shown}


def test_without_a_server_that_counts_restarts_there_is_no_series(monkeypatch):
    sent = {}
    monkeypatch.delenv(RESTARTS_FOLDER, raising=False)
    RestartCount(utils(sent), {"model": "shop"}, "shop_0_0", restarts_of("shop"))
    assert sent == {}


def test_a_catalogue_shows_its_size_and_age_and_none_shows_nothing():
    sent = {}
    CatalogueGauges(utils(sent), {"model": "shop"}, None)
    assert sent == {}
    for _ in range(2):  # processes
        CatalogueGauges(utils(sent), {"model": "shop"}, CatalogueAge(214, "1970-01-02T01:00:00+01:00"))
    label = ("model", "shop")
    assert sent == {("nextitem_catalogue_items", label): 214, ("nextitem_catalogue_created_seconds", label): 86_400}


def test_every_metric_is_described():
    described = {name: what for name, (_, what) in METRICS.items()} | GAUGES
    assert all(name.startswith("nextitem_") and what for name, what in described.items())
