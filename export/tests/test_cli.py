from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from export.tests.support.commands import called
from nextitem_export import (
    Activation,
    Bundle,
    Explained,
    ExportOptions,
    Refused,
    UnsupportedWorkflow,
    activation,
    cli,
    run,
)
from nextitem_export.parity.gate import CaseReport
from nextitem_export.workflow.backend_choice import BackendChoice

PLACE = ("--repository", "y", "--name", "z")


@pytest.fixture
def command(own_process, capsys):
    """Runs the command in this process."""

    return lambda *arguments: called(cli.main, arguments, capsys)


@pytest.fixture(scope="module")
def help_text() -> str:
    done = subprocess.run([sys.executable, "-m", "nextitem_export.cli", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("field", dataclasses.fields(ExportOptions), ids=lambda field: field.name)
def test_help_lists_every_option_with_its_default(help_text, field):
    words = " ".join(help_text.split())
    flag = "--" + field.name.replace("_", "-")
    assert flag in words
    if field.type != "bool":
        after = words[words.rindex(f" {flag} ") :]
        default = {"item_padding": 0}.get(field.name, field.default)  # which `as-is` has not
        assert f"(default: {default}" in after[: after.index(")") + 1]


def test_help_shows_the_two_commands_and_warns_of_foreign_runs(help_text):
    assert "nextitem-export --run runs/shop --repository model_repository --name shop" in help_text
    assert "nextitem-serve --model-repository model_repository" in help_text
    assert "Export only runs that you trust" in help_text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "gguf"], "unknown format 'gguf', known are onnx, auto, onnx_dynamo, torchscript"),
        (["--top-k", "0"], "top_k is 0, expected 1 or more"),
        (
            ["--runtime", "native", "--scoring", "ann"],
            "scoring 'ann' asks faiss, which Triton's own backends have not: give "
            "--runtime python, --scoring exact or --scoring int8-rerank",
        ),
        (
            ["--runtime", "native", "--layout", "fused"],
            "layout 'fused' is one model of Triton's Python backend, and runtime 'native' runs the session model on "
            "Triton's own backends: give --layout ensemble, or --runtime python",
        ),
        ([], "There is no run directory"),
    ],
)
def test_a_mistake_ends_with_a_sentence_and_code_2(command, arguments, sentence, tmp_path):
    done = command("--run", tmp_path / "no", "--repository", tmp_path / "repository", "--name", "shop", *arguments)
    assert done.returncode == 2
    assert f"nextitem-export: {sentence}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--run", "x"], ["required", "--repository", "--name"]),
        (["--repository", "y", "--name", "z"], ["--run is required, unless", "--activate"]),
        (["--activate", "--name", "z"], ["--repository and --name are required"]),
        (["--run", "x", *PLACE, "--activate", "3"], ["--activate 3 with --run", "a number of its own"]),
        (["--run", "x", *PLACE, "--url", "http://h:1"], ["--url is the server that --activate switches"]),
        (["--run", "x", *PLACE, "--activate", "--url", "u", "--replace"], ["--replace takes away", "another --name"]),
        ([*PLACE, "--activate", "--keep-versions", "0"], ["--keep-versions is 0, expected 1 or more"]),
        (["--run", "x", "--repository", "y", "--name", "z", "--top-k", "ten"], ["--top-k: invalid int value: 'ten'"]),
        (["--run", "x", "--repository", "y", "--name", "z", "--colour"], ["unrecognized arguments: --colour"]),
        (["--run", "x", "--repository", "y", "--name", "z", "--tune"], ["unrecognized arguments: --tune"]),
    ],
)
def test_a_wrong_flag_is_told(command, arguments, parts):
    done = command(*arguments)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert all(part in last for part in parts)


def test_what_is_no_bundle_cannot_be_activated(command, tmp_path):
    done = command("--repository", tmp_path, "--name", "shop", "--activate")
    assert done.returncode == 2
    assert f"nextitem-export: {tmp_path} holds no bundle 'shop' that is pinned to a version" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_file_that_is_not_there_is_told(command, tmp_path):
    words = ("--url", "http://127.0.0.1:9", "--control-key-file", tmp_path / "none")
    done = command("--repository", tmp_path, "--name", "shop", "--activate", *words)
    assert done.returncode == 2
    assert f"the key file {tmp_path / 'none'} cannot be read" in done.stderr


@pytest.fixture
def exported(monkeypatch) -> Bundle:
    """What the command exports, without the work."""
    parity = (CaseReport("the sample", 60, 59, 1.5e-7, 2.5e-6),)
    bundle = Bundle(
        Path("y"),
        "z",
        3,
        parity,
        active=2,
        warnings=("one column is not proved",),
        format="torchscript",
        fell_out={"onnx": "no [such] operator"},
    )

    def export_run(*given, progress, **named):
        progress("tracing [the model]")  # no markup of rich's
        return bundle

    monkeypatch.setattr(run, "export_run", export_run)
    return bundle


@pytest.fixture
def activated(monkeypatch) -> Activation:
    """What the command activates."""
    done = Activation("z", 3, 2, (1,))
    monkeypatch.setattr(activation, "activate_bundle", lambda *given, **named: done)
    return done


def test_an_export_as_json(command, exported):
    done = command("--run", "x", *PLACE, "--json", "--quiet")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [found[name] for name in ("repository", "name", "version", "active")] == ["y", "z", 3, 2]
    assert found["parity"][0]["case"] == "the sample"
    assert (found["format"], found["fell_out"]) == ("torchscript", {"onnx": "no [such] operator"})
    assert found["activation"] is None
    assert done.stderr == "nextitem-export: warning: one column is not proved\n", "no progress, as this is no terminal"


def test_the_stages_are_logged_where_they_are_asked_for(command, exported, caplog, monkeypatch):
    command("--run", "x", *PLACE)
    assert caplog.messages == []
    monkeypatch.setenv("NEXTITEM_LOG", "info")
    command("--run", "x", *PLACE)
    assert caplog.messages == ["tracing [the model]"]


def test_an_export_that_is_activated_as_json(command, exported, activated):
    found = json.loads(command("--run", "x", *PLACE, "--activate", "--json").stdout)
    assert found["active"] == 3
    assert found["activation"] == {"name": "z", "version": 3, "before": 2, "pruned": [1]}


def test_an_activation_as_json_and_as_a_sentence(command, activated):
    found = json.loads(command(*PLACE, "--activate", "--json").stdout)
    assert found == {"name": "z", "version": 3, "before": 2, "pruned": [1]}
    sentence = "'z' answers with version 3 from the next start of a server on; before: 2; removed: version 1\n"
    assert command(*PLACE, "--activate").stdout == sentence


def test_an_export_as_a_table_says_what_is_next(command, exported, activated):
    out = command("--run", "x", *PLACE).stdout
    assert "the sample" in out
    assert (
        "the session model is written as torchscript; the server needs torch for it\n  onnx fell out: no [such] op"
        in out
    )
    assert "bundle 'z' version 3 is in y; version 2 answers until you activate it" in out
    out = command("--run", "x", *PLACE, "--activate").stdout
    assert "bundle 'z' version 3 is in y\n'z' answers with version 3" in out


def test_what_is_explained_as_json(command, monkeypatch):
    rows = [
        Explained("price-list", "price", ("FillMissing", "Normalize"), "none", BackendChoice("onnx")),
        Refused("seller-list", UnsupportedWorkflow("give ExportOptions(features='nvtabular')")),
    ]
    monkeypatch.setattr(run, "explain_run", lambda *given: rows)
    done = command("--run", "x", "--explain", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "features": [
            {
                "feature": "price-list", "from": "price", "operators": ["FillMissing", "Normalize"], "lookup": "none",
                "served_by": "onnx", "reason": None,
            }
        ],
        "refused": [{"column": "seller-list", "reason": "give --features nvtabular"}],
    }  # fmt: skip
