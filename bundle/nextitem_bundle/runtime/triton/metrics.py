"""Puts a step's counts beside Triton's own metrics, by the Python backend's custom metrics.

Each change of a metric is a message to Triton's process and back, so counts are added up and sent now and then, behind a
batch's answers. They are sent by the thread that answers: with messages from another one Triton 24.10 dies when the model is
loaded anew.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..counters import METRICS, Counters, Series
from ..steps import CatalogueAge

#: The least time from one sending to the next: it takes some milliseconds.
_EVERY_S = 1.0
#: The variable with which nextitem-serve names a folder: a file of the model's name holds the number of its restarts.
RESTARTS_FOLDER = "NEXTITEM_RESTARTS"
RESTARTS = "nextitem_restarts_total"
#: The gauges of a bundle that keeps its catalogue, and what they tell.
CATALOGUE_ITEMS, CATALOGUE_CREATED = "nextitem_catalogue_items", "nextitem_catalogue_created_seconds"
GAUGES = {
    CATALOGUE_ITEMS: "Items of the catalogue, removed ones left out",
    CATALOGUE_CREATED: "When the catalogue was written, in seconds since 1970 UTC",
}


def restarts_of(model: str) -> int | None:
    """How often the server started a model's processes anew after one had died; None where nobody counts."""
    folder = os.environ.get(RESTARTS_FOLDER)
    if folder is None:
        return None
    try:
        return int((Path(folder) / model).read_text())
    except FileNotFoundError:
        return 0


class RestartCount:
    """Shows the number of restarts from the start of a process on: the dead one cannot have sent it.

    utils: the module triton_python_backend_utils. labels: as in Metrics. instance: the name of this process at Triton. The
    processes of a model share one series, so the first alone raises it.
    """

    def __init__(self, utils: Any, labels: dict[str, str], instance: str, restarts: int | None) -> None:
        self._family = self._metric = None
        if restarts is None or not instance.endswith("_0"):
            return
        what = "Times the model was started anew after one of its processes had died"
        self._family = utils.MetricFamily(name=RESTARTS, description=what, kind=utils.MetricFamily.COUNTER)
        self._metric = self._family.Metric(labels=labels)
        missing = restarts - self._metric.value()
        if missing > 0:
            self._metric.increment(missing)


class CatalogueGauges:
    """Shows the size and the age of the catalogue for as long as the model is loaded.

    utils, labels: as in Metrics. age: None where the step does not say, which shows nothing. All processes of a model share the
    series and set the same values.
    """

    def __init__(self, utils: Any, labels: dict[str, str], age: CatalogueAge | None) -> None:
        self._families: list[Any] = []
        self._metrics: list[Any] = []
        if age is None:
            return
        created_s = datetime.datetime.fromisoformat(age.created).timestamp()
        for name, value in ((CATALOGUE_ITEMS, age.items), (CATALOGUE_CREATED, created_s)):
            family = utils.MetricFamily(name=name, description=GAUGES[name], kind=utils.MetricFamily.GAUGE)
            metric = family.Metric(labels=labels)
            metric.set(value)
            self._families.append(family)
            self._metrics.append(metric)


class Metrics:
    """Sends what counters hold.

    utils: the module triton_python_backend_utils. labels: of all series, such as the model's name.
    """

    def __init__(
        self, utils: Any, counters: Counters, labels: dict[str, str], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._counters, self._labels, self._clock = counters, labels, clock
        # A family has to outlive its series.
        self._families = {
            name: utils.MetricFamily(name=name, description=what, kind=utils.MetricFamily.COUNTER)
            for name, (_, what) in METRICS.items()
        }
        self._series: dict[Series, Any] = {}
        self._due = clock()

    def send_if_due(self) -> None:
        """Send what was counted, unless the last time was only just."""
        began = self._clock()
        if began < self._due:
            return
        for series, count in self._counters.take().items():
            metric = self._metric(series)  # made at 0 as well: a share of what has no series yet cannot be drawn
            if count:
                metric.increment(count)
        self._due = began + _EVERY_S

    def _metric(self, series: Series) -> Any:
        if series not in self._series:
            label = METRICS[series.metric][0]
            own = {label: series.label} if label is not None and series.label is not None else {}
            self._series[series] = self._families[series.metric].Metric(labels={**self._labels, **own})
        return self._series[series]
