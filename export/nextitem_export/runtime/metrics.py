"""Puts a step's counts beside Triton's own metrics, by the Python backend's custom metrics.

Each change of a metric is a message to Triton's process and back, so counts are added up here and sent once a second.
"""

from __future__ import annotations

import threading
from typing import Any

from .tally import METRICS, Series, Tally

_EVERY_S = 1.0


class Metrics:
    """Sends a tally's counts from a thread of its own until it is closed.

    utils: the module triton_python_backend_utils. labels: of all series, such as the model's name.
    """

    def __init__(self, utils: Any, tally: Tally, labels: dict[str, str]) -> None:
        self._tally, self._labels = tally, labels
        # A family has to outlive its series.
        self._families = {
            name: utils.MetricFamily(name=name, description=what, kind=utils.MetricFamily.COUNTER)
            for name, (_, what) in METRICS.items()
        }
        self._series: dict[Series, Any] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nextitem-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is left and stop."""
        self._closed.set()
        self._thread.join()
        self._send()
        self._series.clear()
        self._families.clear()

    def _run(self) -> None:
        while not self._closed.wait(_EVERY_S):
            self._send()

    def _send(self) -> None:
        for series, count in self._tally.take().items():
            self._metric(series).increment(count)

    def _metric(self, series: Series) -> Any:
        if series not in self._series:
            label = METRICS[series.metric][0]
            own = {label: series.label} if label is not None and series.label is not None else {}
            self._series[series] = self._families[series.metric].Metric(labels={**self._labels, **own})
        return self._series[series]
