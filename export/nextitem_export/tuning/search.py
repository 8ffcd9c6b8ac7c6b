"""Which settings are tried, and which of them are kept: no server in here.

From the settings that the export began with, one option after the other is moved to its next value, up or down, for as long as
that is better. A setting is kept only if the worst of its two measurements is better than the best of all that the setting
before it had, taken in turn with it, by a margin: noise moves nothing, and what is hardly better is not worth a change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

#: Options of an export to their values, such as {"threads": 1, "instances": 2}.
Settings = Mapping[str, int]

#: How much better a setting has to be.
MARGIN = 0.05
#: A lone request may take so much longer, if many are answered faster for it.
SLOWER_ALONE = 0.10
#: In the order in which they are searched. Twice as many threads or processes each time, up to the cores.
LADDERS: dict[str, tuple[int, ...]] = {
    "instances": (1, 2, 4, 8, 16, 32, 64),
    "threads": (1, 2, 4, 8, 16, 32, 64),
    "preferred_batch_size": (8, 16, 32, 64),
    "max_queue_delay_us": (0, 200),
}


@dataclasses.dataclass(frozen=True)
class Figures:
    """One measurement. With many callers: answers per second, and the times in which 50, 90 and 99 % came; refused: requests.

    alone_ms: the median time of a request that nobody else disturbs. memory_mb: what all processes of the server hold.
    """

    throughput: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    alone_ms: float
    refused: int = 0
    memory_mb: float | None = None


@dataclasses.dataclass(frozen=True)
class Tried:
    """A measurement of settings."""

    settings: dict[str, int]
    figures: Figures


def search(
    start: Settings,
    free: Collection[str],
    measure: Callable[[Settings], Figures],
    *,
    cores: int,
    p90_bound_ms: float,
    most_sessions: int,
) -> tuple[dict[str, int], list[Tried]]:
    """The best settings found, and all measurements in the order in which they were made.

    start: a value for each option in LADDERS. free: the options that may be changed.
    The best has the most answers per second among those whose p90_ms is within the bound; where none is within it, the lowest
    p90_ms.
    """
    return _Search(measure, p90_bound_ms).run(
        dict(start), [name for name in LADDERS if name in free], cores, most_sessions
    )


class _Search:
    def __init__(self, measure: Callable[[Settings], Figures], p90_bound_ms: float) -> None:
        self._measure = measure
        self._bound = p90_bound_ms
        self._tried: list[Tried] = []

    def run(
        self, best: dict[str, int], free: Sequence[str], cores: int, most_sessions: int
    ) -> tuple[dict[str, int], list[Tried]]:
        self._ask(best)
        for option in free:
            for step in (1, -1):
                moved = False
                while (value := _neighbour(option, best, step, cores, most_sessions)) is not None:
                    challenger = best | {option: value}
                    if not self._is_better(challenger, best):
                        break
                    best, moved = challenger, True
                if moved:
                    break  # the other way lies what it came from
        return best, self._tried

    def _ask(self, settings: dict[str, int]) -> Figures:
        figures = self._measure(settings)
        self._tried.append(Tried(dict(settings), figures))
        return figures

    def _is_better(self, challenger: dict[str, int], best: dict[str, int]) -> bool:
        held = self._of(best)
        for _ in range(2):
            held.append(self._ask(best))
            if not all(self._beats(figures, other) for figures in [self._ask(challenger)] for other in held):
                return False
        return True

    def _of(self, settings: dict[str, int]) -> list[Figures]:
        return [tried.figures for tried in self._tried if tried.settings == settings]

    def _beats(self, one: Figures, other: Figures) -> bool:
        if one.alone_ms > other.alone_ms * (1 + SLOWER_ALONE):
            return False
        within = one.p90_ms <= self._bound
        if within != (other.p90_ms <= self._bound):
            return within
        if not within:
            return one.p90_ms * (1 + MARGIN) < other.p90_ms
        return one.throughput > other.throughput * (1 + MARGIN)


def _neighbour(option: str, best: Settings, step: int, cores: int, most_sessions: int) -> int | None:
    """The next value up (1) or down (-1), None where there is none or it makes no sense on this machine."""
    now = best[option]
    values = [value for value in LADDERS[option] if (value > now if step > 0 else value < now)]
    if not values:
        return None
    value = min(values) if step > 0 else max(values)
    other = {"threads": "instances", "instances": "threads"}.get(option)
    if step > 0 and other is not None and value * best[other] > cores:
        return None  # they would only take the cores from each other
    if option == "preferred_batch_size" and value > most_sessions:
        return None
    return value
