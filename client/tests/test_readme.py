"""Each block of Python in the README runs, in the order of the page, against Triton."""

import re
from pathlib import Path

import pytest

import nextitem_client as nextitem
from nextitem_client import _exceptions

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_block_runs(many, number, capsys):
    code = BLOCKS[number].replace('"http://127.0.0.1:8000"', f'"{many.http_url}", "readme"')
    exec(compile(code, f"README.md, block {number}", "exec"), {})
    out = capsys.readouterr().out
    assert "print(" not in code or out
    assert "Traceback" not in out


def test_the_first_example_recommends_what_was_not_seen(many, capsys):
    code = BLOCKS[0].replace('"http://127.0.0.1:8000"', f'"{many.http_url}", "readme"')
    exec(code, {})
    assert capsys.readouterr().out.startswith("['C3', 'D4', 'E5']")
    exec(BLOCKS[0].replace("127.0.0.1:8000", "127.0.0.1:1"), {})
    assert "No server answers" in capsys.readouterr().out
    assert len(BLOCKS[0].strip().splitlines()) <= 12


def test_the_tree_of_errors_is_the_modules():
    tree = re.search(r"```text\n(NextItemError.*?)```", README, re.DOTALL).group(1)
    assert tree.strip() in _exceptions.__doc__


def test_every_public_name_is_mentioned():
    missing = [name for name in nextitem.__all__ if name not in README]
    assert missing == []
