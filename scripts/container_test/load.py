"""A steady load on one address, each answer compared with the first one to the same request.

    python -m scripts.container_test.load PORT MODEL RATE SECONDS

A process of its own, so that something can be done to the servers meanwhile. Prints `loading` when the load begins, and
at its end one line of JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.load.requests import Answer, Protocol, kserve
from benchmarks.load.trial import Trial, percentile, run_trial
from nextitem_client import Client

CLICKS = Path(__file__).parents[2] / "demo/clicks.parquet"
SESSIONS, K = 200, 10
FIRST_TIMEOUT_S = 120.0
# README.md's contract, 5: items closer than the one may swap, scores are equal to the other.
TIE, CLOSE = 1e-5, 1e-4


def sessions() -> list[dict[str, list]]:
    """Sessions of the demo's last days."""
    clicks = pd.read_parquet(CLICKS)
    clicks["timestamp"] = clicks["timestamp"].astype(str)
    grouped = clicks.tail(10_000).groupby("session_id", sort=False)
    return [group.drop(columns="session_id").to_dict("list") for _, group in list(grouped)[1 : SESSIONS + 1]]


def same(given: Answer, expected: Answer) -> bool:
    """Whether two answers are equal but for the last bits, which depend on the batch."""
    ours, theirs = np.array(given.scores), np.array(expected.scores)
    if given.status != expected.status or ours.shape != theirs.shape or np.abs(ours - theirs).max() > CLOSE:
        return False
    differ = [one != other for one, other in zip(given.item_ids, expected.item_ids, strict=True)]
    return bool(np.all(np.abs(ours - theirs)[differ] <= TIE))


def outcome(trial: Trial, protocol: Protocol, expected: list[Answer]) -> dict[str, object]:
    """What became of the requests."""
    good = {number: body for number, body in trial.kept.items() if trial.status[number] == 200}
    wrong = [n for n, body in good.items() if not same(protocol.read(body), expected[trial.which[n]])]
    latencies = trial.latencies_ms()
    return {
        "asked": len(trial.status),
        "failed": trial.failed,
        "statuses": {
            str(status): int(n) for status, n in zip(*np.unique(trial.status, return_counts=True), strict=True)
        },
        "compared": len(good),
        "wrong": len(wrong),
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "problems": list(trial.problems)[:5],
    }


def main(port: int, model: str, rate: float, duration_s: float) -> None:
    """Ask each request once, then all of them again and again."""
    asked = sessions()
    # In its own time: where the servers still have an earlier load to do, this waits for its end.
    with Client(f"http://127.0.0.1:{port}", model, timeout_s=FIRST_TIMEOUT_S) as client:
        protocol = kserve(model, client.signature, K)
        first = client.recommend_many(asked, k=K)
    expected = [Answer(one.item_ids, one.scores, one.status) for one in first]
    print("loading", flush=True)
    requests = [protocol.write(session) for session in asked]
    trial = run_trial(port, requests, rate, duration_s, seed=0, patience_s=5.0, kept=sys.maxsize)
    print(json.dumps(outcome(trial, protocol, expected)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
