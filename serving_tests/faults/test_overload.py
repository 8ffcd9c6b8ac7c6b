"""More requests than a bundle answers: some are refused, none is forgotten, and the client says so in a sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from nextitem_client import Client, NextItemError, ServerBusy
from nextitem_server import TritonServer
from serving_tests.support.made.cache import Made
from serving_tests.support.made.shop import PROTOCOLS
from serving_tests.support.processes import running_triton
from serving_tests.support.raw_client import Answer, RawClient, Refused

CALLERS = 8
#: The bundle that refuses, and in which words.
REFUSALS = {"narrow": "Exceeds maximum queue size", "hurried": "Request timeout expired"}
BUSY = {"http": "503", "grpc": "UNAVAILABLE"}


@pytest.fixture(scope="module")
def overloaded(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of bundles that refuse, and of two with the defaults."""
    with running_triton(made.repository("overload", tmp_path_factory.mktemp("overload") / "copy")) as running:
        yield running


@pytest.fixture(params=PROTOCOLS)
def url(request: pytest.FixtureRequest, overloaded: TritonServer) -> str:
    return getattr(overloaded, f"{request.param}_url")


@pytest.fixture
def crowd(encode: Callable[..., dict[str, np.ndarray]], sessions: list[pd.DataFrame]) -> dict[str, np.ndarray]:
    """A request of many sessions: it keeps a model busy for a while."""
    return encode(sessions[:60])


def all_at_once(make: Callable[[], Callable[[], object]], times: int) -> list[object]:
    """What callers get who each ask so many times, one call after the other: answers, or errors as they were raised."""

    def one_caller(_: int) -> list[object]:
        ask, outcomes = make(), []
        for _ in range(times):
            try:
                outcomes.append(ask())
            except (Refused, NextItemError) as error:
                outcomes.append(error)
        return outcomes

    with ThreadPoolExecutor(CALLERS) as pool:
        return [outcome for outcomes in pool.map(one_caller, range(CALLERS)) for outcome in outcomes]


@pytest.mark.parametrize("model", REFUSALS)
def test_too_many_requests_are_refused_and_the_others_are_answered(
    url: str, model: str, crowd: dict[str, np.ndarray]
) -> None:
    protocol = url.split(":")[0]
    due = RawClient(protocol, url, "whole").ask(crowd)

    def caller() -> Callable[[], object]:
        raw_client = RawClient(protocol, url, model)
        return lambda: raw_client.ask(crowd)

    outcomes = all_at_once(caller, 12)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert refused
    assert answers
    assert {refusal.status for refusal in refused} == {BUSY[protocol]}
    assert all(REFUSALS[model] in str(refusal) for refusal in refused), refused[0]
    for answer in answers:
        assert answer.item_ids.tolist() == due.item_ids.tolist()
    alone = RawClient(protocol, url, model)
    assert alone.ask(crowd).item_ids.tolist() == due.item_ids.tolist()  # once it is quiet


@pytest.mark.parametrize("model", REFUSALS)
def test_the_client_says_that_the_server_is_busy(url: str, model: str, sessions: list[pd.DataFrame]) -> None:
    asked = [session.drop(columns="session_id").to_dict("list") for session in sessions[:60]]
    with Client(url, model, retries=0) as client:
        outcomes = all_at_once(lambda: lambda: client.recommend_many(asked), 12)
    errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert 0 < len(errors) < len(outcomes)
    assert {type(error) for error in errors} == {ServerBusy}
    assert all(error.retryable for error in errors)
    assert str(errors[0]).startswith(f"The server at {url} has too much to do (")
    assert REFUSALS[model] in str(errors[0])
    assert "raise retries and timeout_s" in str(errors[0])


def test_a_client_that_asks_again_is_answered_in_the_end(url: str, sessions: list[pd.DataFrame]) -> None:
    asked = sessions[0].drop(columns="session_id").to_dict("list")
    with Client(url, "narrow", retries=30, timeout_s=60) as client:
        outcomes = all_at_once(lambda: lambda: client.recommend(asked).status, 12)
    assert outcomes == ["ok"] * len(outcomes)


@pytest.mark.alone
@pytest.mark.parametrize("model", ["whole", "shop"])
def test_a_request_that_comes_while_the_model_is_busy_is_not_forgotten(
    url: str, model: str, encode: Callable[..., dict[str, np.ndarray]], sessions: list[pd.DataFrame]
) -> None:
    # Triton 24.10's batcher misses such a request for up to 500 ms where its queue has a limit: then most wait that long.
    tensors, protocol = encode(sessions[:1]), url.split(":")[0]

    def caller() -> Callable[[], float]:
        raw_client = RawClient(protocol, url, model)

        def timed() -> float:
            begin = time.perf_counter()
            raw_client.ask(tensors)
            return time.perf_counter() - begin

        return timed

    seconds = all_at_once(caller, 25)
    assert np.percentile(seconds, 90) < 0.3
