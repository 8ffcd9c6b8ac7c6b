"""OfflineClient answers as a running Triton does, from the same bundles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nextitem_client import (
    BundleError,
    Client,
    ClientClosed,
    MissingPackage,
    NextItemError,
    OfflineClient,
    Recommendation,
    RequestRejected,
    UnsupportedSignature,
)

import warehouse
from bundles import change, copied, files
from ranking import SCORE_TOLERANCE, TIE
from shop import BUNDLES, MAX_TOP_K, PROTOCOLS, ROOT, run_command

NAMES = [*BUNDLES, warehouse.NAME]


@pytest.fixture(scope="session", params=NAMES)
def offline(request: pytest.FixtureRequest, repository: Path, server) -> OfflineClient:
    """Each bundle, opened in this process; `server` has exported the warehouse."""
    return OfflineClient(repository / request.param, trust_pickle=True)


@pytest.fixture
def online(offline: OfflineClient, server):
    """The same bundle, asked over both protocols."""
    clients = [Client(getattr(server, f"{protocol}_url"), offline.model, timeout_s=60) for protocol in PROTOCOLS]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def asked(offline: OfflineClient, sessions) -> list[dict]:
    """All held-out sessions, a cold and an empty one, as columns."""
    names = offline.signature.feature_names
    if offline.model == warehouse.NAME:
        held_out = [session for _, session in warehouse.interactions().groupby("session_id", sort=False)]
    else:
        held_out = sessions
    columns = [session[list(names)].to_dict("list") for session in held_out]
    unknown: object = "never seen" if offline.signature.features[0].kind == "string" else 2**60
    item = offline.signature.item_column
    return [*columns, {**columns[0], item: [unknown] * len(columns[0][item])}, {name: [] for name in names}]


@pytest.fixture
def shop_copy(repository: Path, tmp_path: Path) -> Path:
    """A copy of the first bundle that may be changed."""
    return copied(repository / "shop", tmp_path / "repository")


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


def refusal(client: Client, **options) -> tuple[type, str]:
    session = options.pop("session")
    with pytest.raises(NextItemError) as caught:
        client.recommend(session, **options)
    return type(caught.value), str(caught.value).replace(client._address.url, "URL")


def test_every_held_out_session_is_answered_as_by_the_server(offline, online, asked) -> None:
    given = offline.recommend_many(asked)
    assert {"ok", "cold", "empty"} <= {answer.status for answer in given}
    for client in online:
        assert_same(given, client.recommend_many(asked))


@pytest.mark.parametrize("k", [1, 7, None])
def test_every_option_acts_as_on_the_server(offline, online, asked, k) -> None:
    batch = [*asked[:70], *asked[-2:]]
    popular = offline.recommend(batch[-1], k=12).item_ids
    lists = [popular[: row % 5] if row % 3 else None for row in range(len(batch))]
    for options in (
        {"exclude": popular[:5]},
        {"exclude": lists},
        {"allow": popular[3:9]},
        {"allow": [ids or None for ids in lists]},
        {"exclude_seen": True},
        {"exclude_seen": [row % 2 == 0 for row in range(len(batch))], "exclude": lists, "allow": popular},
    ):
        given = offline.recommend_many(batch, k, **options)
        for client in online:
            assert_same(given, client.recommend_many(batch, k, **options))
    assert not set(popular[:5]) & set(offline.recommend(batch[0], k, exclude=popular[:5]).item_ids)


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
    batch = asked[:24]
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


@pytest.fixture
def asked_shop(sessions) -> dict:
    return sessions[0].drop(columns="session_id").to_dict("list")


def test_opening_and_asking_changes_no_file_and_needs_no_other_package(shop_copy, asked_shop) -> None:
    before = files(shop_copy)
    shop_copy.parent.chmod(0o555)
    code = f"""
import sys
siblings = ("nextitem_export", "nextitem_training", "nextitem_server", "torch", "pandas", "nvtabular")
sys.modules.update(dict.fromkeys(siblings))
from nextitem_client import OfflineClient
print(OfflineClient({str(shop_copy)!r}).recommend({json.dumps(asked_shop, default=str)}, k=3).item_ids)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    shop_copy.parent.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("['")
    assert files(shop_copy) == before


def test_code_without_a_checksum_is_not_run(shop_copy, asked_shop) -> None:
    runtime = shop_copy.parent / "shop_features" / "1" / "nextitem_runtime"
    (runtime / "onnxruntime.py").write_text("raise SystemExit('ran')")
    (runtime / "__pycache__").mkdir()
    tag = sys.implementation.cache_tag
    (runtime / "__pycache__" / f"step.{tag}.pyc").write_bytes(b"ran")
    assert OfflineClient(shop_copy).recommend(asked_shop).status == "ok"


@pytest.mark.parametrize(
    "name", ["shop_ranker/1/model.onnx", "shop_features/1/nextitem_runtime/step.py", "shop_items/config.pbtxt"]
)
def test_a_file_that_was_changed_is_named(shop_copy, name) -> None:
    file = shop_copy.parent / name
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(BundleError, match=rf"{name} is not the file that was exported: its sha256 is .* verify=False"):
        OfflineClient(shop_copy)
    file.unlink()
    with pytest.raises(BundleError, match=rf"{name} cannot be read \(No such file"):
        OfflineClient(shop_copy)


def test_the_availability_list_acts_and_has_no_checksum(shop_copy, asked_shop) -> None:
    best = OfflineClient(shop_copy).recommend(asked_shop, k=2).item_ids
    availability = shop_copy.parent / "shop_ranker" / "1" / "availability.json"
    availability.write_text(json.dumps({"unavailable": best[:1]}))
    assert OfflineClient(shop_copy).recommend(asked_shop, k=1).item_ids == best[1:]
    availability.write_text("{}")
    with pytest.raises(BundleError, match=r"shop_ranker/1 cannot be opened: AvailabilityError: .*must hold"):
        OfflineClient(shop_copy)


def test_a_pickle_is_refused_unless_trusted(repository) -> None:
    with pytest.raises(BundleError, match=r"holds a pickled workflow .* trust_pickle=True \(--trust-pickle\)"):
        OfflineClient(repository / "shop_nvtabular")


def test_folders_that_are_no_bundle(repository, shop_copy, tmp_path) -> None:
    for path, expected in (
        (shop_copy.parent, r"is a model repository; name one of its bundles: shop\."),
        (shop_copy.parent / "shop_items", r"has no nextitem\.signature\. .* is a step of a bundle"),
        (tmp_path, r"is no bundle: it has no config\.pbtxt"),
    ):
        with pytest.raises(BundleError, match=expected):
            OfflineClient(path)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (
            "shop/1/bundle.json",
            '"format_version": 1,\n "name"',
            '"format_version": 9,\n "name"',
            "has format_version 9",
        ),
        ("shop/1/bundle.json", '"holds_pickle"', '"holds"', "cannot be read as the manifest of a bundle"),
        ("shop/config.pbtxt", "version_policy", "max_batch_size: 0 version", "cannot be read as the configuration"),
        ("shop/config.pbtxt", "specific", "all {} } version_policy { specific", "does not pin the bundle"),
        ("shop/config.pbtxt", "shop_items", "shop_gone", "shop_gone/1 is missing"),
        ("shop_items/1/step.json", '"onnx"', '"magic"', "shop_items/1 cannot be opened: ValueError: .*magic"),
    ],
)
def test_bundles_that_cannot_be_opened(shop_copy, name, old, new, expected) -> None:
    if "specific" in old:
        new = "specific { versions: 7 } } version_policy { specific"
    change(shop_copy.parent / name, old, new)
    with pytest.raises(BundleError, match=expected):
        OfflineClient(shop_copy, verify=False)


def test_a_newer_signature_and_another_runtime(shop_copy) -> None:
    (shop_copy.parent / "shop_items" / "1" / "step.json").unlink()
    with pytest.raises(BundleError, match="holds no nextitem_runtime with a step.json"):
        OfflineClient(shop_copy, verify=False)
    change(shop_copy / "config.pbtxt", r"\"format_version\": 1", r"\"format_version\": 9")
    with pytest.raises((UnsupportedSignature, BundleError)):
        OfflineClient(shop_copy, verify=False)


@pytest.mark.parametrize(("name", "missing"), [("shop", "onnxruntime"), ("shop_torchscript", "torch")])
def test_a_missing_library_is_named_with_its_installation(repository, tmp_path, monkeypatch, name, missing) -> None:
    bundle = copied(repository / name, tmp_path / "repository")
    for step in ("features", "ranker", "items"):  # not imported yet in this process
        runtime = bundle.parent / f"{name}_{step}" / "1" / "nextitem_runtime"
        (runtime / "__init__.py").write_text(f'"""Without {missing}."""\n')
    monkeypatch.setitem(sys.modules, missing, None)
    install = {"onnxruntime": r"'nextitem-client\[offline\]'", "torch": r"'torch>=\d[\d.]+'"}[missing]
    with pytest.raises(MissingPackage, match=rf"needs {missing}, which cannot be imported .* pip install {install}$"):
        OfflineClient(bundle, verify=False)


def test_an_older_python(repository, monkeypatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(BundleError, match=r"needs Python 3\.10, this is 3\.9: ask a server instead"):
        OfflineClient(repository / "shop")


def test_a_step_that_fails_has_the_servers_words(shop_copy, asked_shop) -> None:
    graph = shop_copy.parent / "shop_items" / "1" / "nextitem_runtime" / "graph_onnx.py"
    change(
        graph,
        "        values = self._session.run(",
        "        raise KeyError('oh')\n        values = self._session.run(",
    )
    with pytest.raises(RequestRejected, match="^step shop_items failed: KeyError: 'oh'$"):
        OfflineClient(shop_copy, verify=False).recommend(asked_shop)


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
