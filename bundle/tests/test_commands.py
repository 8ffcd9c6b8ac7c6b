from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from nextitem_bundle import commands

EXIT_CODES = {0: "done", 2: "a wrong call", "128 + N": "signal N"}


@pytest.fixture
def parser():
    result = commands.command_parser(
        "nextitem-ask",
        distribution="nextitem-bundle",
        description="Asks.",
        epilog="example:\n  x\n",
        exit_codes=EXIT_CODES,
    )
    commands.add_output_options(result, json_help="as JSON", quiet_help="no progress")
    return result


def test_help_lists_options_exit_codes_and_the_log_variable(parser):
    text = parser.format_help()
    for part in (
        "--json",
        "--quiet",
        "--version",
        "example:\n  x\n",
        "exit codes:\n        0  done\n",
        "128 + N  signal N",
    ):
        assert part in text
    assert "NEXTITEM_LOG=debug|info|warning|error" in text


def test_the_version_is_the_distributions(parser, capsys):
    with pytest.raises(SystemExit) as left:
        commands.parse_arguments(parser, ["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"nextitem-ask {metadata.version('nextitem-bundle')}\n"


def test_the_output_options_are_off_unless_given(parser):
    parsed = commands.parse_arguments(parser, [])
    assert vars(parsed) == {"json": False, "quiet": False}


def test_a_wrong_log_level_is_told(parser, monkeypatch, capsys):
    monkeypatch.setenv(commands.LOG_VARIABLE, "loud")
    with pytest.raises(SystemExit) as left:
        commands.parse_arguments(parser, [])
    assert left.value.code == 2
    assert "NEXTITEM_LOG is 'loud', expected one of debug, info, warning, error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "quiet", "usual", "shown"),
    [
        (None, False, logging.INFO, logging.INFO),
        (None, False, logging.WARNING, logging.WARNING),
        (None, True, logging.INFO, logging.WARNING),
        (None, True, logging.ERROR, logging.ERROR),
        ("debug", True, logging.INFO, logging.DEBUG),
        ("ERROR", False, logging.INFO, logging.ERROR),
    ],
)
def test_the_level_is_that_of_the_block_alone(monkeypatch, variable, quiet, usual, shown):
    if variable is None:
        monkeypatch.delenv(commands.LOG_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(commands.LOG_VARIABLE, variable)
    logger = logging.getLogger("nextitem_server")
    before = logger.level
    with commands.logs(quiet=quiet, usual=usual):
        assert logger.level == shown
        assert commands.hides_progress("nextitem_server") == (shown > logging.INFO)
    assert logger.level == before


def test_progress_is_shown_where_nobody_set_a_level():
    assert not commands.hides_progress("nextitem_of_no_one")


SAYS = """
import logging
from nextitem_bundle.commands import logs
with logs(quiet=False):
    logging.getLogger("nextitem_client.x").debug("asked")
    logging.getLogger("other").debug("of others")
"""


def test_debug_shows_our_messages_with_time_and_place_and_no_others(monkeypatch):
    monkeypatch.setenv(commands.LOG_VARIABLE, "debug")
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.endswith("DEBUG nextitem_client.x: asked")
    assert done.stdout == ""


@pytest.mark.parametrize("package", commands.PACKAGES)
def test_a_library_says_nothing_where_nobody_asked_for_logs(package):
    code = f"import logging, {package}; logging.getLogger('{package}').error('x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_json_holds_letters_and_paths_as_they_are(capsys):
    commands.print_json({"path": Path("a/b"), "item": "ä"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"path": "a/b", "item": "ä"}
    assert "ä" in out


def test_json_refuses_what_it_has_no_form_for():
    with pytest.raises(TypeError, match="set has no form in JSON; give text, numbers, lists and objects"):
        commands.print_json({"items": {1}})


def test_a_shell_that_completes_gets_the_parser(parser, monkeypatch):
    asked = []
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", SimpleNamespace(autocomplete=asked.append))
    commands.parse_arguments(parser, [])
    assert asked == [parser]


def test_without_argcomplete_a_shell_that_completes_runs_nothing(parser, monkeypatch, capsys):
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    with pytest.raises(SystemExit) as left:
        commands.parse_arguments(parser, [])
    assert left.value.code == 1
    assert capsys.readouterr() == ("", "")
