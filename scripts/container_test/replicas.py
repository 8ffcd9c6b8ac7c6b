"""Profile `replicas`: balanced per request, steady load while one of three servers dies and comes back."""

import json
import subprocess
import sys
import time

from nextitem_client import Client, ServerUnavailable

from .console import fail, say
from .engine import ROOT
from .project import Project, status_of, wait_for

PROTOCOLS = ("http", "grpc")
RATE, DURATION_S = 200, 45
KILL_AFTER_S, START_AFTER_S, SETTLED_AFTER_S = 8, 18, 32
MOST_FAILED_SHARE = 1 / 1000
# Before a kill the load has to be carried with ease: where it is not, what fails afterwards says nothing about the kill.
TRIED_S, EASY_P99_MS, TRY_EVERY_S, TRY_FOR_S = 5, 500, 30, 900
LEAST_SHARE = 0.2  # of the requests for each of three servers; even would be a third
CALLS = 60


def bring_up(project: Project) -> list[str]:
    """Three replicas and the load balancer; returns the replicas' containers once all of them get requests."""
    project.up("load-balancer")
    replicas = project.containers("replica")
    if len(replicas) != 3:
        fail(f"three replicas were expected, and there are {len(replicas)}.")
    wait_for("that the load balancer answers", lambda: _ready(project))
    ports = [line for replica in replicas for line in project.engine.output("port", replica).splitlines()]
    if ports:
        fail(f"replicas are to be reached through the load balancer alone, and {ports} are published.")
    return replicas


def _ready(project: Project) -> bool:
    return status_of(project.url("LB_HTTP_PORT", "/v2/health/ready")) == 200


def answered(project: Project, replicas: list[str], model: str) -> list[int]:
    """Requests that each replica has answered so far."""
    return [project.answered(replica, model) for replica in replicas]


def wait_for_all(project: Project, replicas: list[str], model: str) -> None:
    """Return when each replica has answered a request through the load balancer over each protocol."""
    for protocol in PROTOCOLS:
        before = answered(project, replicas, model)

        def all_asked(protocol: str = protocol, before: list[int] = before) -> bool:
            try:
                _ask_many(project, protocol, model, 12)
            except ServerUnavailable:
                return False
            return all(now > then for now, then in zip(answered(project, replicas, model), before, strict=True))

        wait_for(f"that every replica is asked over {protocol}", all_asked)


def _ask_many(project: Project, protocol: str, model: str, calls: int) -> None:
    url = project.url("LB_HTTP_PORT" if protocol == "http" else "LB_GRPC_PORT").replace("http:", f"{protocol}:")
    with Client(url, model, retries=0) as client:
        session = [{feature.name: None for feature in client.signature.features}]
        for _ in range(calls):
            client.recommend(session, k=1)


def check_balance(project: Project, replicas: list[str], model: str) -> None:
    """One client on one connection: its requests go to all servers, over both protocols."""
    for protocol in PROTOCOLS:
        before = answered(project, replicas, model)
        _ask_many(project, protocol, model, CALLS)
        shares = _shares(before, answered(project, replicas, model))
        if min(shares) < LEAST_SHARE:
            fail(f"{protocol}: {CALLS} requests on one connection went to the replicas in shares of {shares}.")
        say(f"{CALLS} {protocol} requests on one connection: shares of the replicas {_percent(shares)}")


def wait_for_ease(project: Project, model: str) -> None:
    """Return once the replicas carry the load with ease, which a machine with other work may not let them."""
    until = time.monotonic() + TRY_FOR_S
    while True:
        load = _start_load(project, model, TRIED_S)
        outcome = _outcome(load)
        if not outcome["failed"] and outcome["p99_ms"] <= EASY_P99_MS:
            return
        told = f"{outcome['failed']} of {outcome['asked']} failed and 99 % came within {outcome['p99_ms']:.0f} ms"
        if time.monotonic() > until:
            fail(
                f"this machine does not carry three replicas and {RATE} requests a second, none of them killed: {told}, "
                f"expected are none and {EASY_P99_MS} ms. Run it where less else is done."
            )
        say(f"waiting until three replicas carry {RATE} requests a second with ease: {told}")
        time.sleep(TRY_EVERY_S)


def check_killed_replica(project: Project, replicas: list[str], model: str, which: int = 0) -> None:
    """SIGKILL to one of three under load: hardly a request fails, none is answered wrongly, and load comes back."""
    load = _start_load(project, model, DURATION_S)
    started = time.monotonic()

    def sleep_until(second: float) -> None:
        time.sleep(max(0.0, started + second - time.monotonic()))

    try:
        sleep_until(KILL_AFTER_S)
        project.engine.output("kill", "--signal=KILL", replicas[which])
        sleep_until(START_AFTER_S)
        project.engine.output("start", replicas[which])
        sleep_until(SETTLED_AFTER_S)
        before = answered(project, replicas, model)
        sleep_until(DURATION_S - 1)
        shares = _shares(before, answered(project, replicas, model))
        outcome = _outcome(load)
    finally:
        load.kill()
    _check(outcome, shares)


def _start_load(project: Project, model: str, duration_s: int) -> "subprocess.Popen[str]":
    arguments = [project.ports["LB_HTTP_PORT"], model, str(RATE), str(duration_s)]
    load = subprocess.Popen(
        [sys.executable, "-m", "scripts.container_test.load", *arguments],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert load.stdout is not None
    if load.stdout.readline() != "loading\n":
        fail("the load did not begin.")
    return load


def _outcome(load: "subprocess.Popen[str]") -> dict:
    told, _ = load.communicate(timeout=DURATION_S + 60)
    if load.returncode:
        fail(f"the load ended with exit status {load.returncode}.")
    return json.loads(told.splitlines()[-1])


def _check(outcome: dict, shares: list[float]) -> None:
    failed, asked = outcome["failed"], outcome["asked"]
    say(
        f"{asked} requests at {RATE}/s, one of three replicas killed and back: {failed} failed {outcome['statuses']}, "
        f"{outcome['wrong']} of {outcome['compared']} answers wrong, p50 {outcome['p50_ms']:.1f} ms, "
        f"p99 {outcome['p99_ms']:.1f} ms; afterwards shares {_percent(shares)}"
    )
    if failed >= asked * MOST_FAILED_SHARE:
        fail(f"fewer than one request in a thousand may fail: {outcome}")
    if outcome["wrong"] or outcome["compared"] != asked - failed:
        fail(f"every answer must be there and be right: {outcome}")
    if min(shares) < LEAST_SHARE:
        fail("the load does not spread over all three replicas again.")


def _shares(before: list[int], after: list[int]) -> list[float]:
    counts = [now - then for now, then in zip(after, before, strict=True)]
    return [round(count / max(1, sum(counts)), 3) for count in counts]


def _percent(shares: list[float]) -> str:
    return ", ".join(f"{share:.0%}" for share in shares)
