"""Every block of a page is of a language that a test knows: it is run, read by what reads it in use, or parsed.

Commands are compared with their --help in test_commands.py, and run in test_page_commands.py and in the tests of single pages.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import nextitem_client
import nextitem_export
import nextitem_server
import nextitem_training
from nextitem_training.config import read_config
from tests.support.repository_files import ROOT, our_files, text_of

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
#: Languages that this test reads; and those that other tests do, by the test.
READ = {"toml", "json", "yaml", "python"}
ELSEWHERE = {
    "console": "tests/test_commands.py",
    "sh": "tests/test_commands.py",
    "js": "serving_tests/contract/test_plain_http.py",
    "go": "serving_tests/contract/test_plain_http.py",
    "ini": "server/tests/test_systemd.py",
    "text": "tests/pages/test_guides.py",
}
PACKAGES = {
    module.__name__: module for module in (nextitem_client, nextitem_export, nextitem_server, nextitem_training)
}


def blocks(*languages: str) -> Iterator[tuple[Path, str, str]]:
    """Page, language and text of each block in one of these languages, or of all."""
    for path in our_files():
        if path.suffix == ".md":
            for indent, language, text in BLOCK.findall(text_of(path) or ""):
                if not languages or language in languages:
                    yield path.relative_to(ROOT), language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def parameters(*languages: str) -> list:
    """The same for parametrize."""
    return [pytest.param(text, id=f"{path}-{number}") for number, (path, _, text) in enumerate(blocks(*languages))]


def test_every_block_is_of_a_language_that_is_tested():
    unknown = {f"{path}: {language}" for path, language, _ in blocks() if language not in READ | set(ELSEWHERE)}
    assert unknown == set()
    for test in ELSEWHERE.values():
        assert (ROOT / test).is_file()


@pytest.mark.parametrize("text", parameters("toml"))
def test_a_configuration_is_taken(text, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    read_config(file)


@pytest.mark.parametrize("text", parameters("json"))
def test_json_is_parsed(text):
    json.loads(text)


@pytest.mark.parametrize("text", parameters("yaml"))
def test_yaml_is_parsed(text):
    yaml.safe_load(text)


@pytest.mark.parametrize("text", parameters("python"))
def test_python_compiles_and_imports_what_is_there(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module in PACKAGES:
            for name in node.names:
                assert hasattr(PACKAGES[node.module], name.name), f"{node.module} has no {name.name}"
