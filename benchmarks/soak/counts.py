"""What the soak counts: requests with what they should be answered with, and what became of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: HTTP's status and gRPC's code of a server that has too much to do.
REFUSALS = (503, "UNAVAILABLE")


@dataclasses.dataclass(frozen=True)
class Window:
    """What became of some seconds' requests. memory_mb: resident, by process, after them."""

    seconds: float
    well_formed: int
    well_formed_failed: int
    malformed: int
    malformed_otherwise: int
    refused: int
    compared: int
    wrong: int
    p50_ms: float
    p99_ms: float
    memory_mb: Mapping[str, float]
    problems: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Request:
    """expected: HTTP's status or gRPC's code. right: whether an answer is the model's; None for a malformed request."""

    name: str
    sent: Any
    expected: int | str
    right: Callable[[Any], bool] | None = None


@dataclasses.dataclass
class Counts:
    """Of one protocol in one window."""

    well_formed: int = 0
    well_formed_failed: int = 0
    malformed: int = 0
    malformed_otherwise: int = 0
    refused: int = 0
    compared: int = 0
    wrong: int = 0
    latencies_ms: list[float] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def add(
        self, request: Request, found: int | str, latency_ms: float, body: Any | None, again: Callable[[], int | str]
    ) -> None:
        """Count one request; `body` is compared where it is given.

        again: sends it once more. A refusal under load counts as `refused`, and as what comes of it then: so do clients.
        """
        if found in REFUSALS and found != request.expected:
            self.refused += 1
            found, body = again(), None
        as_expected = found == request.expected
        if request.right is None:
            self.malformed += 1
            self.malformed_otherwise += not as_expected
        else:
            self.well_formed += 1
            self.well_formed_failed += not as_expected
            self.latencies_ms.append(latency_ms)
            if as_expected and body is not None:
                self.compared += 1
                right = request.right(body)
                self.wrong += not right
                if not right:
                    self.problems.append(f"{request.name}: another answer than the first")
        if not as_expected:
            self.problems.append(f"{request.name}: {found}, expected {request.expected}")
