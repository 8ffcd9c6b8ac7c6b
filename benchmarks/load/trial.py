"""One trial: prepared requests at a fixed mean rate against one address, by the load generator in its own process."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.support.own_process import ROOT, module_command

#: Connections at most; beyond, requests wait in the generator, and their latency runs.
CONNECTIONS = 800
#: Seconds that the generator waits for answers beyond the last intended time.
PATIENCE_S = 1.0
KEPT_ANSWERS = 20


class GeneratorFailedError(RuntimeError):
    """The load generator ended with an error; the message is its own."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """What became of N requests.

    intended, sent, done: float64 [N], seconds since the start; NaN where it did not happen. status: int64 [N], HTTP's, or
    one of the generator's own. which: int64 [N], the request that was sent. kept: some answers' bodies by number of request.
    busy_us: the generator's processor time for a request.
    """

    intended: np.ndarray
    sent: np.ndarray
    done: np.ndarray
    status: np.ndarray
    which: np.ndarray
    kept: Mapping[int, bytes]
    busy_us: float
    problems: Sequence[str]

    def latencies_ms(self, skip_s: float = 0.0) -> np.ndarray:
        """From the intended time to the answer, for requests after `skip_s`; infinite where no good answer came."""
        return latencies_ms(self.intended, self.done, self.status, skip_s)

    @property
    def late_ms(self) -> np.ndarray:
        """How long after its intended time each request was sent, be it the generator's fault or for want of a connection."""
        return np.nan_to_num((self.sent - self.intended) * 1e3, nan=np.inf)

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return int((self.status != 200).sum())


def latencies_ms(intended: np.ndarray, done: np.ndarray, status: np.ndarray, skip_s: float = 0.0) -> np.ndarray:
    """See Trial.latencies_ms."""
    counted = intended >= skip_s
    good = (status == 200) & np.isfinite(done)
    return np.where(good, (done - intended) * 1e3, np.inf)[counted]


def percentile(latencies: np.ndarray, share: float) -> float:
    """The smallest latency that `share` of the requests do not exceed: no interpolation, so that infinity stays infinity."""
    if not len(latencies):
        raise ValueError("no request was counted: the trial is shorter than what is skipped at its start")
    rank = max(1, math.ceil(share * len(latencies) - 1e-9))
    return float(np.partition(latencies, rank - 1)[rank - 1])


def poisson_times(rate: float, duration_s: float, random: np.random.Generator) -> np.ndarray:
    """Arrival times in [0, duration_s) of a Poisson process: independent exponential gaps of mean 1 / rate seconds."""
    expected = rate * duration_s
    gaps = random.exponential(1 / rate, math.ceil(expected + 10 * math.sqrt(expected) + 10))
    times = np.cumsum(gaps)
    return times[times < duration_s] if times[0] < duration_s else times[:1]


def run_trial(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    duration_s: float,
    *,
    seed: int,
    connections: int = CONNECTIONS,
    patience_s: float = PATIENCE_S,
    host: str = "127.0.0.1",
    kept: int = KEPT_ANSWERS,
) -> Trial:
    """Send requests, chosen at random, at Poisson times; about `kept` answers are kept. Raises GeneratorFailedError."""
    random = np.random.default_rng(seed)
    intended = poisson_times(rate, duration_s, random)
    which = random.integers(0, len(requests), len(intended))
    job = {"host": host, "port": port, "connections": connections, "patience_s": patience_s, "kept": kept}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        (folder / "requests.bin").write_bytes(b"".join(requests))
        np.save(folder / "ends.npy", np.cumsum([len(request) for request in requests]))
        np.save(folder / "intended.npy", intended)
        np.save(folder / "which.npy", which)
        done = subprocess.run(
            module_command("benchmarks.load.generator", folder), cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise GeneratorFailedError(f"the load generator failed with exit code {done.returncode}: {done.stderr}")
        told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
        outcome = np.load(folder / "outcome.npz", allow_pickle=False)
        return Trial(
            intended,
            outcome["sent"],
            outcome["done"],
            outcome["status"],
            which,
            {int(number): bytes.fromhex(body) for number, body in told["kept"].items()},
            told["busy_s"] / len(intended) * 1e6,
            told["problems"],
        )
