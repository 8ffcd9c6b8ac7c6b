"""How counts are sent, with a stand-in for the module that exists inside Triton alone; serving_tests read the real ones."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from nextitem_export.runtime import metrics
from nextitem_export.runtime.metrics import Metrics
from nextitem_export.runtime.tally import METRICS, Tally


class Metric:
    def __init__(self, sent, name, labels) -> None:
        self._sent, self._key = sent, (name, *sorted(labels.items()))

    def increment(self, count) -> None:
        self._sent[self._key] = self._sent.get(self._key, 0) + count


@pytest.fixture
def sent(monkeypatch):
    monkeypatch.setattr(metrics, "_EVERY_S", 0.02)
    return {}


def utils(sent):
    class Family:
        COUNTER = "counter"

        def __init__(self, name, description, kind) -> None:
            assert description
            assert kind == "counter"
            self._name = name

        def Metric(self, labels):  # noqa: N802  Triton's own name
            return Metric(sent, self._name, labels)

    return SimpleNamespace(MetricFamily=Family)


def test_counts_are_added_up_and_sent_now_and_then(sent):
    tally = Tally()
    running = Metrics(utils(sent), tally, {"model": "shop"})
    try:
        for _ in range(3):
            tally.refused("busy")
        deadline = time.monotonic() + 5
        key = ("nextitem_requests_refused_total", ("model", "shop"), ("reason", "busy"))
        while sent.get(key) != 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sent == {key: 3}
    finally:
        running.close()


def test_what_is_left_is_sent_at_the_end_and_nothing_after_it(sent):
    tally = Tally()
    running = Metrics(utils(sent), tally, {})
    tally.refused("fault")
    running.close()
    assert sent == {("nextitem_requests_refused_total", ("reason", "fault")): 1}
    assert not running._thread.is_alive()


def test_every_metric_is_described():
    assert all(name.startswith("nextitem_") and what for name, (_, what) in METRICS.items())
