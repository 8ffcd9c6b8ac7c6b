"""The client, the commands and the README's own code against a running Triton."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import pytest

from nextitem_bundle.versions import active_version
from nextitem_client import Client, RequestRejected
from nextitem_training.run_directory import RunDirectory
from serving_tests.support.commands import BIN, run_command, run_here
from serving_tests.support.made.shop import ASKED, MAX_TOP_K, PROTOCOLS, ROOT
from serving_tests.support.raw_client import RawClient

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("name", "protocol"), ASKED)
def test_the_client_gets_what_plain_tensors_get(server, sessions, encode, protocol: str, name: str) -> None:
    url = getattr(server, f"{protocol}_url")
    raw_client = RawClient(protocol, url, name)
    batch = [*sessions[:70], sessions[0].iloc[:0]]  # more than one request may hold
    columns = [session.drop(columns="session_id").to_dict("list") for session in batch]
    with Client(url, model=name) as client:
        given = client.recommend_many(columns, k=7)
        events = client.recommend(batch[3].drop(columns="session_id").to_dict("records"), k=7)
        everything = client.recommend(columns[0], k=MAX_TOP_K).item_ids
        filled = raw_client.ask(encode(batch[:1], top_k=np.array([[MAX_TOP_K]], dtype=np.int32))).item_ids[0].tolist()
        assert everything == [item for item in filled if item]  # null is no item, and fills up the end
        with pytest.raises(RequestRejected, match=f"'top_k' is {MAX_TOP_K + 1}"):
            client.recommend(columns[0], k=MAX_TOP_K + 1)
    assert events.item_ids == given[3].item_ids
    for row, answer in enumerate(given):
        true = raw_client.ask(encode([batch[row]], top_k=np.array([[7]], dtype=np.int32)))
        assert answer.item_ids == true.item_ids[0].tolist()
        np.testing.assert_allclose(answer.scores, true.scores[0], rtol=0, atol=1e-4)
        assert answer.status == true.status[0]
    raw_client.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_recommends(server, sessions, tmp_path, protocol: str) -> None:
    url = getattr(server, f"{protocol}_url")
    session = sessions[0].drop(columns="session_id").astype({"timestamp": str}).to_dict("list")
    (tmp_path / "session.json").write_text(json.dumps(session))
    common = ("--url", url, "--model", "shop", "--session", tmp_path / "session.json", "--k", 3)
    as_json = run_command("nextitem-recommend", *common, "--json")
    assert as_json.returncode == 0, as_json.stderr
    with Client(url, model="shop") as client:
        expected = client.recommend(session, k=3)
    for item in expected.item_ids:
        assert item in as_json.stdout
        assert item in run_command("nextitem-recommend", *common).stdout
    json.loads(as_json.stdout)


def test_the_readmes_curl_request_works_as_printed(server) -> None:
    block = re.search(r"<!-- test: curl -->\n```sh\n(.*?)```", README, re.DOTALL).group(1)
    command = block.replace("http://127.0.0.1:8000", server.http_url)
    answer = json.loads(subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=60).stdout)
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["item_ids"]["shape"] == [1, 5]
    assert all(re.fullmatch(r"[A-CP]\d+", item) for item in outputs["item_ids"]["data"])
    assert outputs["status"]["data"] == ["ok"]


def test_the_readmes_client_example_runs(server, capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)  # it reads demo/session.json
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Client(" in b)
    code = block.replace('"http://127.0.0.1:8000"', f'"{server.http_url}", model="shop"')
    exec(compile(code, "README.md", "exec"), {})
    assert "ok" in capsys.readouterr().out


def test_the_readmes_session_is_the_demos() -> None:
    block = re.search(r"<!-- test: session -->\n```json\n(.*?)```", README, re.DOTALL).group(1)
    assert block == (ROOT / "demo" / "session.json").read_text(encoding="utf-8")


def test_the_readmes_session_is_answered_by_the_command(server) -> None:
    asked = ("--url", server.http_url, "--model", "shop", "--session", ROOT / "demo" / "session.json", "--k", 5)
    answer = run_here("nextitem-recommend", *asked, "--json")
    assert answer.returncode == 0, answer.stderr
    answer = json.loads(answer.stdout)
    assert (len(answer["item_ids"]), answer["status"]) == (5, "ok")


def test_the_readmes_export_adds_an_active_version(run, made, tmp_path) -> None:
    (line,) = re.findall(r"^\$ (nextitem-export --run .* --activate)$", README, re.MULTILINE)
    repository = made.repository("overload", tmp_path / "made")
    command = [{"runs/shop": run, "model_repository": repository}.get(word, word) for word in line.split()]
    assert active_version(repository, "shop") == 1  # as make demo leaves it
    done = run_here(*command)
    assert done.returncode == 0, done.stderr
    assert active_version(repository, "shop") == 2


def test_the_readmes_export_example_runs(run, tmp_path) -> None:
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "export_bundle" in b)
    opened = RunDirectory.open(run)
    names = {"model": opened.load_model(), "workflow": opened.load_workflow(), "sample": opened.sample()}
    exec(compile(block.replace('"model_repository"', repr(str(tmp_path / "made"))), "README.md", "exec"), names)
    assert (tmp_path / "made" / "shop" / "1" / "bundle.json").is_file()


@pytest.mark.parametrize("command", sorted(path.name for path in BIN.glob("nextitem-*")))
def test_every_command_explains_itself(command: str) -> None:
    result = run_command(command, "--help")
    assert result.returncode == 0
    assert "usage: " + command in result.stdout
    assert "example" in result.stdout.lower()
    assert command in README


def test_the_commands_refuse_with_a_sentence(run, tmp_path) -> None:
    data, config = ROOT / "demo" / "clicks.parquet", ROOT / "demo" / "config.toml"
    train = ("nextitem-train", "--data", data, "--config", config, "--output", tmp_path / "new")
    export = ("nextitem-export", "--repository", tmp_path / "repository", "--name", "shop")
    renamed = tmp_path / "config.toml"
    renamed.write_text(config.read_text().replace('"colour"', '"color"'))
    refusals = [
        ([str(tmp_path / "nothing")], (*train[:2], tmp_path / "nothing", *train[3:])),
        (["color", "colour"], (*train[:4], renamed, *train[5:])),
        (["bert", "gpt2", "xlnet", "berd"], (*train, "--body", "berd")),
        (["mlm", "gpt2"], (*train, "--body", "gpt2", "--pretraining", "mlm")),
        ([str(tmp_path / "nothing"), "nextitem-train"], (*export, "--run", tmp_path / "nothing")),
        (["onxx", "onnx", "torchscript"], (*export, "--run", run, "--format", "onxx")),
        (["top_k is 30", "max_top_k 20"], (*export, "--run", run, "--top-k", 30, "--max-top-k", 20)),
        (
            [str(tmp_path / "nothing"), "nextitem-export"],
            ("nextitem-serve", "--model-repository", tmp_path / "nothing"),
        ),
    ]
    started: set[str] = set()
    for words, command in refusals:
        result = (run_here if command[0] in started else run_command)(*command)  # each command truly, once
        started.add(command[0])
        assert result.returncode == 2, result.stderr
        last = result.stderr.strip().splitlines()[-1]
        assert all(word in last for word in words), result.stderr
        assert "Traceback" not in result.stderr
    assert started == {"nextitem-train", "nextitem-export", "nextitem-serve"}
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "repository").exists() or not list((tmp_path / "repository").iterdir())


@pytest.mark.beside_the_server
def test_an_occupied_port_is_named(repository, server) -> None:
    result = run_command("nextitem-serve", "--model-repository", repository, "--http-port", server.ports.http)
    assert result.returncode != 0
    assert str(server.ports.http) in result.stderr
    assert "--http-port" in result.stderr
    assert "Traceback" not in result.stderr
