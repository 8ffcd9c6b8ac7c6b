"""The page on plain HTTP: its programs run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nextitem_client import Client, Recommendation
from serving_tests.support.plain_page import FEATURES, PAGE, SESSIONS, ask, blocks, outputs, rows

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not on the PATH")
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="go is not on the PATH")
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not on the PATH")


def run(command: Sequence[str | Path], url: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Run one of the page's programs against the server at this URL, without a proxy and outside the repository."""
    environment = {**os.environ, "NEXTITEM_URL": url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=environment, **more)


def shell(code: str, url: str) -> str:
    """What a block for the shell prints."""
    result = run(["sh", "-c", code], url)
    assert result.returncode == 0, result.stderr
    return result.stdout


def run_program(language: str, code: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Write a program of the page to a file in the folder and run it."""
    file = folder / {"js": "recommend.mjs", "go": "recommend.go"}[language]
    file.write_text(code, encoding="utf-8")
    return run([*{"js": ["node"], "go": ["go", "run"]}[language], file], url, cwd=folder)


def answers(language: str, code: str, url: str, folder: Path) -> list[dict]:
    """What a program of the page prints."""
    result = run_program(language, code, url, folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def changed(code: str, old: str, new: str) -> str:
    """The program with one thing other than on the page."""
    assert code.count(old) == 1
    return code.replace(old, new)


@pytest.fixture(scope="module")
def client(server) -> Iterator[Client]:
    with Client(server.http_url, "shop") as client:
        yield client


def assert_same(given: Sequence[dict], expected: Sequence[Recommendation]) -> None:
    assert [one["item_ids"] for one in given] == [one.item_ids for one in expected]
    assert [one["status"] for one in given] == [one.status for one in expected]
    for one, other in zip(given, expected, strict=True):
        assert one["scores"] == pytest.approx(other.scores, abs=1e-4)


def test_every_program_of_the_page_is_run_here() -> None:
    languages = re.findall(r"^```(\S*)", PAGE, re.MULTILINE)[::2]
    assert {name: languages.count(name) for name in languages} == {"sh": 7, "js": 2, "go": 1, "json": 2, "text": 1}


@pytest.mark.parametrize(("given", "taken"), [("http://shop:80", "http://shop:80"), ("", "http://127.0.0.1:8000")])
def test_the_servers_address_is_a_variable(given: str, taken: str) -> None:
    (code,) = blocks("Plain HTTP: from any language, with JSON alone", "sh")
    assert shell(f'{code}echo "$NEXTITEM_URL"', given) == f"{taken}\n"


# curl


def test_the_metadata_names_every_tensor(server) -> None:
    metadata = json.loads(shell(blocks("What the model wants", "sh")[0], server.http_url))
    inputs = {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in metadata["inputs"]}
    one, many = [-1, 1], [-1, -1]
    assert inputs == {
        **{name: (datatype, many) for name, datatype in FEATURES.items()},
        "session_length": ("INT32", one),
        "top_k": ("INT32", one),
        "exclude_item_ids": ("BYTES", many),
        "allow_item_ids": ("BYTES", many),
        "exclude_seen": ("BOOL", one),
    }


@needs_jq
def test_the_signature_says_the_rest(server, signature) -> None:
    read = json.loads(shell(blocks("What the model wants", "sh")[1], server.http_url))
    assert read["features"] == signature["features"]
    assert read["item_column"] == "item_id"
    assert read["max_sessions_per_request"] == 64


def test_curl_asks_for_one_session(server, client) -> None:
    answer = outputs(shell(blocks("One session", "sh")[0], server.http_url))
    first = {name: value[:2] if isinstance(value, list) else value for name, value in SESSIONS[0].items()}
    expected = client.recommend(first, k=3)
    assert answer["item_ids"]["data"] == expected.item_ids
    assert answer["scores"]["data"] == pytest.approx(expected.scores, abs=1e-4)
    shown = outputs(blocks("One session", "json")[0])
    for name, tensor in shown.items():
        assert tensor.keys() == answer[name].keys()
        assert (tensor["datatype"], tensor["shape"]) == (answer[name]["datatype"], answer[name]["shape"])


def test_curl_asks_for_sessions_of_different_lengths(server, client) -> None:
    (code,) = blocks("Sessions of different lengths", "sh")
    answer = outputs(shell(code, server.http_url))
    expected = client.recommend_many(SESSIONS, k=5)
    assert rows(answer["item_ids"]) == [one.item_ids for one in expected]
    assert rows(answer["status"]) == [["ok"]] * 3
    assert len({tuple(one.item_ids) for one in expected}) == 3  # else rows could be mixed up unseen
    # The picture is of this request, and a flat list says the same.
    (picture,) = blocks("Sessions of different lengths", "text")
    flat = json.loads(re.search(r'"data": (\[.*\])', picture).group(1))
    body = json.loads(re.search(r"-d '(.*)'", code, re.DOTALL).group(1))
    (items,) = (tensor for tensor in body["inputs"] if tensor["name"] == "item_id")
    assert flat == [item for row in items["data"] for item in row]
    items["data"] = flat
    assert outputs(ask(server.http_url, "shop", body)[1])["item_ids"] == answer["item_ids"]


def test_curl_prints_the_servers_sentence(server) -> None:
    out = shell(blocks("Errors", "sh")[0], server.http_url)
    assert out.endswith("exit code 22\n")
    (quoted,) = re.findall(r"misspelt \(`(.*?)`\)", PAGE)
    assert json.loads(out.removesuffix("exit code 22\n")) == {"error": quoted}


def test_curl_asks_for_health(server) -> None:
    assert shell(blocks("Health", "sh")[0], server.http_url) == "live 200\nready 200\nshop 200\n"


# JavaScript and Go


@needs_node
def test_javascript_recommends(server, client, tmp_path) -> None:
    code = blocks("JavaScript", "js")[0]
    given = answers("js", code, server.http_url, tmp_path)
    expected = client.recommend_many(SESSIONS[:2], k=5, exclude_seen=True, exclude=[["A2", "B31"], ["A11"]])
    assert_same(given, expected)


@needs_node
def test_javascript_cuts_off_what_is_no_item(server, client, tmp_path) -> None:
    code = blocks("JavaScript", "js")[0]
    allowing = changed(code, 'exclude: [["A2", "B31"], ["A11"]]', 'allow: [["B31", "C5", "A2"], ["A11"]]')
    given = answers("js", allowing, server.http_url, tmp_path)
    expected = client.recommend_many(SESSIONS[:2], k=5, exclude_seen=True, allow=[["B31", "C5", "A2"], ["A11"]])
    assert_same(given, expected)
    assert [len(one["item_ids"]) for one in given] == [3, 1]


@needs_go
def test_go_recommends(server, client, tmp_path) -> None:
    given = answers("go", blocks("Go", "go")[0], server.http_url, tmp_path)
    assert_same(given, client.recommend_many(SESSIONS[:2], k=5, exclude_seen=True))


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="gofmt is not on the PATH")
def test_go_is_formatted(server) -> None:
    (code,) = blocks("Go", "go")
    assert run(["gofmt"], server.http_url, input=code).stdout == code


@pytest.mark.parametrize("language", [pytest.param("js", marks=needs_node), pytest.param("go", marks=needs_go)])
def test_mistakes_are_told(server, tmp_path, language: str) -> None:
    (code,) = blocks({"js": "JavaScript", "go": "Go"}[language], language)
    misspelt = re.sub(r"\bprice\b", "prize", code)
    refused = run_program(language, misspelt, server.http_url, tmp_path)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[0].endswith("HTTP 400: unexpected inference input 'prize' for model 'shop'")
    absent = run_program(language, changed(code, "/models/shop/", "/models/shpo/"), server.http_url, tmp_path)
    assert absent.stderr.splitlines()[0].endswith("HTTP 404: Request for unknown model: 'shpo' is not found")


@pytest.mark.parametrize("language", [pytest.param("js", marks=needs_node), pytest.param("go", marks=needs_go)])
@pytest.mark.parametrize(("listening", "told"), [(False, "refused"), (True, "timeout")])
def test_no_answer_is_told(tmp_path, language: str, listening: bool, told: str) -> None:
    (code,) = blocks({"js": "JavaScript", "go": "Go"}[language], language)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        result = run_program(language, code, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert told in result.stderr.splitlines()[0].lower()


@needs_node
def test_javascript_keeps_integer_ids_exact(server, tmp_path) -> None:
    result = run_program("js", blocks("Integer ids in JavaScript", "js")[0], server.http_url, tmp_path)
    assert result.returncode == 0, result.stderr
    session = {
        "item_id": [9007199254740993, 9223372036854775807],
        "timestamp": [1704067200000000001, 1704067200000000002],
        "shelf": [7, None],
        "weight": [1.5, 2],
    }
    with Client(server.http_url, "warehouse") as client:
        expected = client.recommend(session, k=5).item_ids
    assert result.stdout.split() == list(map(str, expected))
    assert any(abs(item) > 2**53 and int(float(item)) != item for item in expected)  # a double would show


@needs_node
def test_javascript_writes_whole_milliseconds_as_exact_nanoseconds(server, tmp_path) -> None:
    code = """
        let different = 0;
        for (let i = 0; i < 100000; i++) {
          const milliseconds = Math.floor(Math.random() * 4e12);
          if (JSON.stringify(milliseconds * 1e6) !== String(BigInt(milliseconds) * 1000000n)) different += 1;
        }
        console.log(different);
    """
    assert run_program("js", code, server.http_url, tmp_path).stdout == "0\n"
