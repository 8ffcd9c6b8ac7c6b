"""OfflineClient answers as a running Triton does, from the same bundles."""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from nextitem_client import (
    AsyncClient,
    Client,
    ClientClosed,
    NextItemError,
    OfflineClient,
    Recommendation,
    RequestRejected,
)
from serving_tests.support.bundles import change
from serving_tests.support.commands import run_command
from serving_tests.support.made import warehouse
from serving_tests.support.made.shop import BUNDLES, MAX_TOP_K, PROTOCOLS, ROOT
from serving_tests.support.ranking import SCORE_TOLERANCE, TIE

NAMES = [*BUNDLES, warehouse.NAME]


@pytest.fixture(scope="session", params=NAMES)
def offline(request: pytest.FixtureRequest, repository: Path, server) -> OfflineClient:
    """Each bundle, opened in this process; `server` has exported the warehouse."""
    return OfflineClient(repository / request.param, trust_pickle=True)


@pytest.fixture
def online(offline: OfflineClient, server):
    """The same bundle over both protocols."""
    clients = [Client(getattr(server, f"{protocol}_url"), offline.model, timeout_s=60) for protocol in PROTOCOLS]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def asked(offline: OfflineClient, sessions) -> list[dict]:
    """Held-out sessions, a cold and an empty one, as columns."""
    names = offline.signature.feature_names
    if offline.model == warehouse.NAME:
        sessions = [session for _, session in warehouse.interactions().head(2_000).groupby("visit", sort=False)]
    columns = [session[list(names)].to_dict("list") for session in sessions[: 130 if is_slow(offline) else None]]
    unknown: object = "never seen" if offline.signature.features[0].kind == "string" else 2**60
    item = offline.signature.item_column
    return [*columns, {**columns[0], item: [unknown] * len(columns[0][item])}, {name: [] for name in names}]


def is_slow(client: Client) -> bool:
    """NVTabular takes 30 ms and more for a request."""
    return client.model == "shop_nvtabular"


def assert_same(given: list[Recommendation], expected: list[Recommendation]) -> None:
    """Equal but for the last bits: the server may compute several requests at once."""
    assert len(given) == len(expected)
    for one, other in zip(given, expected, strict=True):
        assert (one.status, one.model, one.model_version) == (other.status, other.model, other.model_version)
        assert len(one.item_ids) == len(other.item_ids)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=SCORE_TOLERANCE)
        close = np.isclose(one.scores, other.scores, rtol=0, atol=TIE)
        assert all(a == b or near for a, b, near in zip(one.item_ids, other.item_ids, close, strict=True))
        assert np.mean([a == b for a, b in zip(one.item_ids, other.item_ids, strict=True)] or [1]) > 0.9


def test_every_held_out_session_is_answered_as_by_the_server(offline, online, asked) -> None:
    given = offline.recommend_many(asked)
    assert {"ok", "cold", "empty"} <= {answer.status for answer in given}
    for client in online:
        assert_same(given, client.recommend_many(asked))


def test_one_request_has_one_answer_in_every_way(offline, online, asked, server) -> None:
    item, limit = offline.signature.item_column, offline.signature.max_sessions_per_request
    batch = [
        *asked[: limit - 2],
        *asked[-2:],
    ]  # as much as one request holds: alone in its batch, it is equal to the bit
    assert len({len(session[item]) for session in batch}) > (1 if offline.model == warehouse.NAME else 8)
    popular = offline.recommend(batch[-1], k=12).item_ids
    lists = [popular[: row % 5] if row % 3 else None for row in range(len(batch))]
    filters = [
        {},
        {"exclude": popular[:5]},
        {"allow": popular[3:9]},
        {"exclude_seen": [row % 2 == 0 for row in range(len(batch))], "exclude": lists, "allow": popular},
        {"exclude": lists},
        {"allow": [ids or None for ids in lists]},
        {"exclude_seen": True},
    ]
    calls = [{"k": k, **options} for k, options in zip(cycle((7, 1, None)), filters[: 4 if is_slow(offline) else None])]

    async def awaited(url: str) -> list:
        async with AsyncClient(url, offline.model, timeout_s=60) as client:
            return [await client.recommend_many(batch, **call) for call in calls]

    given = [offline.recommend_many(batch, **call) for call in calls]
    for client in online:
        assert [client.recommend_many(batch, **call) for call in calls] == given
    for protocol in PROTOCOLS:
        assert asyncio.run(awaited(getattr(server, f"{protocol}_url"))) == given
    assert len({tuple(answer.scores) for answer in given[0]}) > 10, "one answer for all proves nothing"
    assert not set(popular[:5]) & {found for answer in given[1] for found in answer.item_ids}
    assert {found for answer in given[2] for found in answer.item_ids} <= set(popular[3:9])


def refusal(client: Client, **options) -> tuple[type, str]:
    session = options.pop("session")
    with pytest.raises(NextItemError) as caught:
        client.recommend(session, **options)
    return type(caught.value), str(caught.value).replace(client._address.url, "URL")


def test_refusals_have_the_servers_words(offline, online, asked) -> None:
    session, item = asked[0], offline.signature.item_column
    names, kinds = offline.signature.feature_names, {f.name: f.kind for f in offline.signature.features}
    text = next((name for name in names if kinds[name] == "string"), None)
    long = {name: [values[0]] * 10_001 for name, values in session.items()}
    cases = [
        {"session": session, "k": MAX_TOP_K + 1000},
        {"session": session, "k": 0},
        {"session": long},
        {"session": {**session, item: [object()] * len(session[item])}},
        {"session": {"no such feature": [1]}},
        {
            "session": session,
            "exclude": list(range(20_000)) if kinds[item] == "integer" else [str(n) for n in range(20_000)],
        },
    ]
    if text:
        cases += [{"session": {**session, text: [value] * len(session[text])}} for value in ("a\0b", "x" * 1025)]
    for case in cases:
        kind, sentence = refusal(offline, **case)
        for client in online:
            assert refusal(client, **case) == (kind, sentence)
    assert refusal(offline, **cases[0])[0] is RequestRejected


def test_threads_may_share_a_client(offline, asked) -> None:
    batch = asked[: 8 if is_slow(offline) else 24]
    alone = [offline.recommend(session) for session in batch]
    with ThreadPoolExecutor(6) as pool:
        assert_same(list(pool.map(offline.recommend, batch)), alone)


def test_a_closed_client(repository) -> None:
    with OfflineClient(repository / "shop") as client:
        pass
    with pytest.raises(ClientClosed, match=r"client of .*/shop is closed; make a new OfflineClient"):
        client.recommend({})


def test_two_runtimes_live_in_one_process(repository, shop_copy, asked_shop) -> None:
    request = shop_copy.parent / "shop_features" / "1" / "nextitem_runtime" / "request.py"
    change(request, ", the limit set at export", ", says another runtime")
    paths = list(sys.path)
    one, other = OfflineClient(repository / "shop"), OfflineClient(shop_copy, verify=False)
    for _ in range(2):  # neither takes the other's place
        assert refusal(one, session=asked_shop, k=999)[1].endswith(", the limit set at export")
        assert refusal(other, session=asked_shop, k=999)[1].endswith(", says another runtime")
    assert one.recommend(asked_shop) == other.recommend(asked_shop)
    assert sys.path == paths
    assert not [name for name in sys.modules if name.startswith("nextitem_runtime")]


def test_the_command_answers_from_a_bundle(repository, sessions, tmp_path) -> None:
    session = sessions[0].drop(columns="session_id").astype({"timestamp": str}).to_dict("list")
    (tmp_path / "session.json").write_text(json.dumps(session))
    common = ("--session", tmp_path / "session.json", "--json", "--k", 3, "--bundle")
    result = run_command("nextitem-recommend", *common, repository / "shop")
    assert result.returncode == 0, result.stderr
    expected = OfflineClient(repository / "shop").recommend(session, k=3)
    assert json.loads(result.stdout)["item_ids"] == expected.item_ids
    for arguments, words in (
        ((repository / "shop_nvtabular",), "--trust-pickle"),
        ((repository / "shop", "--url", "http://127.0.0.1:1"), "does not go with --url"),
        ((repository,), "name one of its bundles"),
    ):
        refused = run_command("nextitem-recommend", *common, *arguments)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr


def test_the_examples_of_the_page_run(repository, clicks, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_repository").symlink_to(repository)
    clicks[clicks.timestamp >= "2008-08-10"].to_parquet("sessions.parquet")
    page = (ROOT / "docs" / "offline.md").read_text()
    blocks = [block.split("```")[0] for block in page.split("```python\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/offline.md", "exec"), {})
    assert "ok" in capsys.readouterr().out
    assert (tmp_path / "recommendations.parquet").exists()
