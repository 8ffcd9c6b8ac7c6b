import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from client.tests.support.gateways import http_gateway

from nextitem_client import cli

EVENT = {"item_id": "ä", "timestamp": "2024-05-01", "category": 1, "is_new": True, "price": 2.0}


@pytest.fixture
def run(many, monkeypatch, capsys, tmp_path):
    def call(document, *arguments: str) -> tuple[int, str, str]:
        text = document if isinstance(document, str) else json.dumps(document)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        code = cli.main(["--url", many.http_url, "--model", "shop", *arguments])
        return (code, *capsys.readouterr())

    return call


def test_a_table(run):
    code, out, errors = run([EVENT, {**EVENT, "item_id": "b"}], "--k", "2")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert errors == ""
    assert lines[0][0] == "status"
    assert lines[0][-4:] == ["model", "shop", "version", "7"]
    assert lines[1:] == [["rank", "item", "score"], ["1", "b", "-0.0000"], ["2", "ä", "-0.3333"]]


def test_json_of_one_and_of_several(run):
    _, out, _ = run({name: [value] for name, value in EVENT.items()}, "--json")
    assert json.loads(out)["item_ids"] == ["ä"]
    _, out, _ = run({"sessions": [[EVENT], []]}, "--json")
    assert [one["item_ids"] for one in json.loads(out)["recommendations"]] == [["ä"], []]


def test_filters(run):
    events = [{**EVENT, "item_id": item} for item in "abc"]
    assert json.loads(run(events, "--json", "--exclude", "a", "b")[1])["item_ids"] == ["c"]
    assert json.loads(run(events, "--json", "--allow", "a")[1])["item_ids"] == ["a"]
    assert json.loads(run(events, "--json", "--exclude-seen")[1])["item_ids"] == []
    numbers = {"item_id": [1, 2]}
    assert json.loads(run(numbers, "--json", "--model", "numbers", "--exclude", "2")[1])["item_ids"] == [1]


def test_headers(run, many):
    with http_gateway(many.http_url) as gateway:
        run([EVENT], "--url", gateway.url, "--header", "x-key: a:b", "--header", "y:z")
        assert gateway.requests[-1].headers["x-key"] == "a:b"
        assert gateway.requests[-1].headers["y"] == "z"


def test_a_file_over_grpc(run, many, tmp_path):
    file = tmp_path / "session.json"
    file.write_text(json.dumps([EVENT]), encoding="utf-8")
    code, out, _ = run("", "--session", str(file), "--url", many.grpc_url)
    assert code == 0
    assert "ä" in out


@pytest.mark.parametrize(
    ("document", "arguments", "expected"),
    [
        ("no json", (), "standard input is no JSON"),
        ([{"itemid": "a"}], (), "did you mean item_id?"),
        ([], ("--k", "99"), "top_k is 99"),
        ([], ("--session", "/no/such/file"), "cannot be read: No such file"),
        ([], ("--model", "none"), "no ready model none"),
        ({"item_id": [1]}, ("--model", "numbers", "--exclude", "x"), "as this model's ids are"),
        (
            {"item_id": [1], "price": 5},
            ("--model", "numbers"),
            "Session 0 cannot be sent, since the catalogue has 'price' of",
        ),
        ([], ("--header", "key"), "expected is --header 'NAME: VALUE'"),
        ([], ("--ca-file", "ca.crt"), "is no file"),
        ([], ("--url", "grpc://127.0.0.1"), "lacks the port"),
    ],
)
def test_errors_are_one_sentence(run, document, arguments, expected):
    code, out, errors = run(document, *arguments)
    assert code == 2
    assert out == ""
    assert errors.startswith("nextitem-recommend: ")
    assert expected in errors
    assert len(errors.splitlines()) == 1


def test_a_terminal_is_not_waited_for(monkeypatch, capsys):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert cli.main([]) == 2
    assert "--session FILE" in capsys.readouterr().err


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "| nextitem-recommend --k 5" in capsys.readouterr().out


def test_importing_the_client_imports_neither_protocol():
    code = (
        "import sys, nextitem_client; heavy = {'pandas', 'grpc', 'gevent', 'tritonclient'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_module_asks_with_tritonclient():
    folder = Path(cli.__file__).parent
    knowing = sorted(p.name for p in folder.rglob("*.py") if '"tritonclient.' in p.read_text())
    assert knowing == ["triton.py"]
