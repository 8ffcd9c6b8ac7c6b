"""Any request is answered as offline prediction does, without what its filters bar (README.md's contract, 1 to 7 at once)."""

from __future__ import annotations

import os
import random as chance
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_tests.support.made.shop import MAX_TOP_K, PROTOCOLS
from serving_tests.support.ranking import LOWEST, assert_true_answer, judged
from serving_tests.support.raw_client import RawClient
from serving_tests.support.strategies import DrawnRequest, draw_request

#: Requests of the long test, for each format.
MANY = int(os.environ.get("NEXTITEM_RANDOM_REQUESTS", "5000"))
AT_ONCE = 100


@pytest.fixture(scope="module")
def pool(sessions) -> pd.DataFrame:
    return pd.concat(sessions, ignore_index=True)


def reference_answers(reference, requests: list[DrawnRequest]) -> list[tuple[list[str], np.ndarray]]:
    """Status and offline scores of each request; NVTabular is quicker with many sessions than often."""
    true = judged(reference, [session for request in requests for session in request.sessions])
    ends = np.cumsum([len(request.sessions) for request in requests])
    starts = ends - [len(request.sessions) for request in requests]
    return [(true.status[start:end], true.scores[start:end]) for start, end in zip(starts, ends, strict=True)]


def assert_right(reference, request: DrawnRequest, answer, status: list[str], scores: np.ndarray) -> None:
    assert answer.status == status
    assert answer.item_ids.shape == answer.scores.shape == (len(status), request.top_k or 20)
    assert_true_answer(reference.item_ids, scores, answer, request.barred(reference.item_ids))


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False))
def test_random_requests_are_answered_as_offline(raw_client: RawClient, reference, pool, signature, random) -> None:
    request = draw_request(random, pool)
    ((status, scores),) = reference_answers(reference, [request])
    assert_right(reference, request, raw_client.ask(request.tensors(signature["features"])), status, scores)


def test_the_random_requests_hold_what_they_should(reference, pool) -> None:
    """Without this the tests around could pass on requests that are all alike."""
    requests = [draw_request(chance.Random(seed), pool) for seed in range(150)]
    true = reference_answers(reference, requests)
    assert {word for status, _ in true for word in status} == {"ok", "cold", "empty"}
    barred = [request.barred(reference.item_ids)[:, 3:] for request in requests]
    best = [scores[:, 3:].argmax(axis=1) for _, scores in true]
    changed = [away[np.arange(len(top)), top].mean() for away, top in zip(barred, best, strict=True)]
    assert 0.2 < np.mean(changed) < 0.9  # how often the best item is one that must not come
    assert any(away.all(axis=1).any() for away in barred)
    assert any(0 < (~away).sum(axis=1).min() < MAX_TOP_K for away in barred)
    assert {len(request.sessions) for request in requests} >= {1, 64}
    assert {request.top_k for request in requests} >= {None, 1, MAX_TOP_K}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["shop", "shop_torchscript", "shop_fused"])
def test_thousands_of_random_requests_are_answered_as_offline(
    name: str, reference, pool, server, signature, capsys
) -> None:
    features, sessions, nothing = signature["features"], 0, 0

    def ask(part: int, requests: list[DrawnRequest]) -> list:
        protocol = PROTOCOLS[part % 2]
        own = RawClient(protocol, getattr(server, f"{protocol}_url"), name)
        try:
            return [own.ask(request.tensors(features)) for request in requests[part::4]]
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool_of_callers:
        for start in range(0, MANY, AT_ONCE):
            requests = [draw_request(chance.Random(seed), pool) for seed in range(start, min(start + AT_ONCE, MANY))]
            parts = list(pool_of_callers.map(ask, range(4), [requests] * 4))
            for place, (request, true) in enumerate(zip(requests, reference_answers(reference, requests), strict=True)):
                answer = parts[place % 4][place // 4]
                assert_right(reference, request, answer, *true)
                sessions += len(answer.status)
                nothing += int((answer.scores[:, 0] == LOWEST).sum())
    assert sessions > MANY
    with capsys.disabled():
        print(f"\n{name}: {MANY} random requests with {sessions} sessions, {nothing} of them left without an item")
