"""No module needs, by whatever way, one that needs it: imports inside functions and for types alone count too."""

import ast
import graphlib
from pathlib import Path

import nextitem_training

ROOT = Path(nextitem_training.__file__).parent


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_one_way():
    modules = {name_of(path): path for path in ROOT.rglob("*.py")}
    needs = {name: modules.keys() & {*imported(path)} - {name} for name, path in modules.items()}
    assert "nextitem_training.errors" in needs["nextitem_training.cli"]
    # CycleError, a ValueError, names the circle.
    assert len([*graphlib.TopologicalSorter(needs).static_order()]) == len(modules)
