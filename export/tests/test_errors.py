from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import nextitem_export
from nextitem_export import ExportError, UnsupportedModel

PACKAGE = Path(nextitem_export.__file__).parent
#: These speak to whoever calls the command, and the runtime to whoever runs the server.
FOR_THE_COMMAND = {"cli.py", "report.py"}
#: Of the commands that are called.
OTHERS = {"--model-repository", "--no-verify"}


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("give ExportOptions(scoring='exact'), or a model", "give --scoring exact, or a model"),
        ('give ExportOptions(runtime="python", layout="fused"): so', "give --runtime python --layout fused: so"),
        ("or ExportOptions(keep_workflow_window=True) to", "or --keep-workflow-window to"),
        ("ExportOptions(max_top_k=7)", "--max-top-k 7"),
        ("the key, activate_bundle(key=…)", "the key, --control-key-file"),
        ("forward(features) is all", "forward(features) is all"),
    ],
)
def test_the_command_has_a_flag_for_each_choice(message, command):
    assert UnsupportedModel(message).in_flags() == command
    assert str(ExportError(message)) == message


def _texts(tree: ast.AST) -> list[str]:
    """The strings of a module but for its docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    told = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, owners) and ast.get_docstring(node)}
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in strings if id(node) not in told]


def test_no_message_of_the_functions_names_a_flag():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name in FOR_THE_COMMAND or path.parent.name == "runtime":
            continue
        flags = {flag for text in _texts(ast.parse(path.read_text())) for flag in re.findall(r"--[a-z][a-z-]+", text)}
        if flags - OTHERS:
            found[str(path.relative_to(PACKAGE))] = sorted(flags - OTHERS)
    assert found == {}
