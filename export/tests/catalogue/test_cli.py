"""The command nextitem-catalogue, as far as no update is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from export.tests.support.commands import Done, called
from nextitem_bundle.versions import active_version
from nextitem_export.catalogue import cli
from nextitem_export.catalogue.availability import Availability

PLACE = ("--repository", "nowhere", "--name", "shop")


@pytest.fixture
def command(own_process, capsys):
    """Runs the command in this process."""

    return lambda *arguments: called(cli.main, arguments, capsys)


def test_neither_torch_nor_nvtabular_is_loaded():
    """Not for help, and not by what writes and proves a version."""
    code = """
import sys
import nextitem_export.catalogue.cli, nextitem_export.catalogue.update, nextitem_export.catalogue.report
import nextitem_export.catalogue.availability, nextitem_export.activation
heavy = {"torch", "nvtabular", "merlin", "transformers", "nextitem_training"} & {name.split(".")[0] for name in sys.modules}
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_shows_each_command_with_its_options(command):
    text = " ".join(command("--help").stdout.split())
    assert "nextitem-catalogue update items.parquet --repository model_repository --name shop --dry-run" in text
    for name in ("show", "update", "availability"):
        own = command(name, "--help").stdout
        assert own.startswith(f"usage: nextitem-catalogue {name} ")
        assert all(flag in text for flag in ("--partial", "--unavailable", "--of-version", "--control-key-file"))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["required: COMMAND"]),
        (["show", "--name", "shop"], ["required: --repository"]),
        (["update", *PLACE], ["required: FILE"]),
        (["update", "x", *PLACE, "--url", "http://h:1"], ["--url is the server that --activate switches"]),
        (
            ["update", "x", *PLACE, "--dry-run", "--activate"],
            ["--dry-run writes nothing that --activate could switch to"],
        ),
        (
            ["update", "x", *PLACE, "--partial", "--remove-most"],
            ["--partial removes nothing, which --remove-most would"],
        ),
        (["update", "x", *PLACE, "--keep-versions", "0"], ["--keep-versions is 0, expected 1 or more"]),
        (["availability", *PLACE, "--clear", "--file", "x"], ["not allowed with argument"]),
        (["update", "x", *PLACE, "--colour"], ["unrecognized arguments: --colour"]),
    ],
)
def test_a_wrong_flag_is_told(command, arguments, parts):
    done = command(*arguments)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert all(part in last for part in parts), last


@pytest.mark.parametrize("arguments", [["show"], ["update", __file__], ["availability"]])
def test_what_is_no_bundle_is_told(command, arguments, tmp_path):
    done = command(*arguments, "--repository", tmp_path, "--name", "shop")
    assert done.returncode == 2
    assert done.stderr.startswith("nextitem-catalogue: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_that_is_not_there_is_told(command, tmp_path):
    words = ("--activate", "--url", "http://127.0.0.1:9", "--control-key-file", tmp_path / "none")
    done = command("update", "x", "--repository", tmp_path, "--name", "shop", *words)
    assert done.returncode == 2
    assert f"the key file {tmp_path / 'none'} cannot be read" in done.stderr


# The availability list.


@pytest.fixture
def place(bundle, tmp_path):
    """A copy of an exported bundle, as options."""
    shutil.copytree(bundle.repository, tmp_path / "repository")
    return ["--repository", tmp_path / "repository", "--name", "shop"]


@pytest.fixture
def availability(command, place):
    """Changes the list; returns what the command says, and the list."""

    def call(*options) -> tuple[Done, dict]:
        done = command("availability", *place, *options)
        found = Availability.read(place[1], "shop", active_version(place[1], "shop"))
        return done, json.loads(found.file.read_text(encoding="utf-8"))

    return call


def test_items_are_kept_back_and_recommended_again(availability):
    assert availability()[0].stdout == "'shop' may recommend all items\n"
    done, listed = availability("--unavailable", "ø1", "ø2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "'shop' keeps back 2 items: ø1, ø2\n"
    assert listed == {"unavailable": ["ø1", "ø2"]}
    done, listed = availability("--available", "ø1", "--unavailable", "ø3", "gone")
    assert listed == {"unavailable": ["ø2", "ø3", "gone"]}
    assert (
        done.stdout == "'shop' keeps back 2 items; 1 more are listed, which the catalogue does not have: ø2, ø3, gone\n"
    )
    assert done.stderr == "nextitem-catalogue: warning: the catalogue has no item 'gone'\n"
    assert availability("--clear")[1] == {"unavailable": []}


def test_a_list_of_what_alone_is_available_is_changed_too(availability, tmp_path):
    (tmp_path / "list.json").write_text(json.dumps({"available": ["ø1", "ø2"]}), encoding="utf-8")
    done, listed = availability("--file", tmp_path / "list.json", "--unavailable", "ø2", "--available", "ø3")
    assert listed == {"available": ["ø1", "ø3"]}
    assert done.stdout == "'shop' recommends 2 listed items and no others: ø1, ø3\n"
    found = json.loads(availability("--json")[0].stdout)
    assert found == {"available": ["ø1", "ø3"], "kept_back": found["kept_back"]}
    assert found["kept_back"] > 10


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "the availability list {} is not there, or no file"),
        ("[]", "{} must hold "),
        ('{"unavailable": [7]}', "{} lists 7, expected strings"),
    ],
)
def test_a_list_that_is_none_is_refused(availability, tmp_path, content, sentence):
    file = tmp_path / "list.json"
    if content is not None:
        file.write_text(content)
    done, listed = availability("--file", file)
    assert done.returncode == 2
    assert done.stderr.startswith("nextitem-catalogue: " + sentence.format(file))
    assert listed == {"unavailable": []}


def test_a_server_that_does_not_answer_leaves_the_list_as_it_was(availability):
    done, listed = availability("--unavailable", "ø1", "--url", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert "the server at http://127.0.0.1:9 does not answer" in done.stderr
    assert listed == {"unavailable": []}


def test_a_native_bundle_has_no_list(command, export_shop, tmp_path):
    native = export_shop(runtime="native")
    done = command("availability", "--repository", native.repository, "--name", "shop", "--unavailable", "ø1")
    assert done.returncode == 2
    assert "has no availability list, since its retrieval runs in Triton's own backends" in done.stderr
