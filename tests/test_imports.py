"""Who may import whom: the packages meet in written formats, not through imports, and inside a package imports go one way."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNTIME = "bundle/nextitem_bundle/runtime"
PACKAGES = [f"{folder}/nextitem_{folder}" for folder in ("bundle", "training", "export", "server", "client")]


@dataclass(frozen=True)
class Rule:
    """What the Python files under `folder` may import of nextitem; a package allows its modules."""

    folder: str
    allowed: frozenset[str]
    remedy: str


def _rule(folder: str, *allowed: str, remedy: str) -> Rule:
    return Rule(folder, frozenset(allowed), remedy)


RULES = [
    _rule("bundle", "nextitem_bundle", remedy="the written format rests on nothing but itself"),
    _rule(
        "training",
        "nextitem_bundle",
        "nextitem_training",
        remedy="of its siblings training imports nextitem_bundle only; what export has to know stands in the run "
        "directory (docs/run-directory.md)",
    ),
    _rule(
        "export/nextitem_export",
        "nextitem_bundle",
        "nextitem_export",
        "nextitem_training.model",
        "nextitem_training.schema",
        "nextitem_training.run_directory",
        "nextitem_training.errors",  # what opening a run directory raises
        remedy="of nextitem_training, export may import model, schema, run_directory and errors only",
    ),
    _rule(
        "export/tests",
        "nextitem_bundle",
        "nextitem_export",
        "nextitem_training",
        remedy="export's tests may train what they export; serving it belongs to serving_tests/",
    ),
    _rule(
        "server",
        "nextitem_bundle",
        "nextitem_server",
        remedy="of its siblings server imports nextitem_bundle only",
    ),
    _rule(
        "client/tests",
        "nextitem_bundle",
        "nextitem_client",
        "nextitem_server",
        remedy="client's tests may start the server that they ask",
    ),
    _rule(
        "client/nextitem_client",
        "nextitem_bundle",
        "nextitem_client",
        remedy="of its siblings client imports nextitem_bundle only",
    ),
    *(
        _rule(
            folder,
            "nextitem_bundle",
            "nextitem_client",
            "nextitem_server",
            "nextitem_training.offline",
            "nextitem_training.run_directory",  # what the offline predictor is made from
            remedy=f"{folder} uses bundle, client, server and nextitem_training.offline as libraries, and "
            "everything else through the commands nextitem-train and nextitem-export",
        )
        for folder in ("serving_tests", "demo")
    ),
    _rule(
        "benchmarks",
        "nextitem_bundle",
        "nextitem_client",
        "nextitem_server",
        "nextitem_export",  # a compiled workflow is timed apart from a bundle, with vocabularies that no model is trained on
        "nextitem_training.offline",
        "nextitem_training.run_directory",
        "nextitem_training.special_ids",
        "nextitem_training.config",
        "nextitem_training.interactions",
        "nextitem_training.workflow",
        remedy="benchmarks time the parts that they name, and train through the command nextitem-train",
    ),
]

# What runs inside Triton finds these there; files named here may import more, and only they.
RUNTIME_MODULES = {"numpy", "onnxruntime", "torch", "triton_python_backend_utils"}
RUNTIME_EXTRAS = {"features/nvtabular.py": {"nvtabular", "pandas"}}  # ann.py imports faiss by name, with a remedy


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import in the file, function-level ones too.

    `from a import b` gives `a.b`; relative imports stay in their package and are left out.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def sibling_violations(root: Path, rule: Rule) -> list[str]:
    """One sentence, with file and line, for each import that `rule` forbids."""
    return [
        f"{path.relative_to(root)}:{line} imports {name}: {rule.remedy}."
        for path in sorted((root / rule.folder).rglob("*.py"))
        for line, name in imports(path)
        if name.startswith("nextitem_") and not any(f"{name}.".startswith(f"{allowed}.") for allowed in rule.allowed)
    ]


def runtime_violations(root: Path) -> list[str]:
    """One sentence for each import that a bundle's Python could not resolve inside Triton."""
    found: list[str] = []
    for path in sorted((root / RUNTIME).rglob("*.py")):
        allowed = (
            RUNTIME_MODULES
            | RUNTIME_EXTRAS.get(path.relative_to(root / RUNTIME).as_posix(), set())
            | sys.stdlib_module_names
        )
        found += [
            f"{path.relative_to(root)}:{line} imports {name}: code that is copied into bundles "
            f"imports the standard library, {', '.join(sorted(RUNTIME_MODULES))} and, relatively, "
            "itself; do the work at export instead and write the result into the bundle."
            for line, name in imports(path)
            if name.split(".")[0] not in allowed
        ]
    return found


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree but for what type checkers alone read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (part for statement in child.orelse for part in (statement, *run_time_nodes(statement)))
        else:
            yield child
            yield from run_time_nodes(child)


def needs_of(package: Path) -> dict[str, set[str]]:
    """The package's modules by name, and which of them each imports, function-level imports included."""
    modules: dict[str, Path] = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: {*_needed(name, path, modules.keys())} - {name} for name, path in modules.items()}


def _needed(name: str, path: Path, modules: AbstractSet[str]) -> Iterator[str]:
    parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in run_time_nodes(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from modules & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*parts[: len(parts) - node.level + 1]] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:  # a module of that name, or something in the source
                yield from modules & {f"{source}.{alias.name}"} or modules & {source}


def folders_of(needs: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same for what lies directly in a package, its folders as a whole."""

    def part(module: str) -> str:
        return ".".join(module.split(".")[:2])

    inner = {name: {other for other in needed if "." in other} for name, needed in needs.items() if "." in name}
    folders: dict[str, set[str]] = {part(name): set() for name in inner}
    for name, needed in inner.items():
        folders[part(name)] |= {part(other) for other in needed} - {part(name)}
    return folders


def circle_in(needs: dict[str, set[str]]) -> str | None:
    """One circle, if there is any: a module, what it needs, and so on to the module itself."""
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return " needs ".join(reversed(error.args[1]))
    return None


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_go_one_way(package):
    needs = needs_of(ROOT / package)
    assert any(needs.values()), f"{package} has no module that needs another: has it moved?"
    for which in (needs, folders_of(needs)):
        circle = circle_in(which)
        assert circle is None, (
            f"{circle}: let one of them take what it needs as an argument, or make one module of two."
        )


@pytest.mark.parametrize(
    ("lines", "circle"),
    [
        ("from . import other", True),
        ("from .other import x", True),
        ("import nextitem_a.other", True),
        ("from nextitem_a.other import x", True),
        ("def f():\n    from .other import x", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .other import x", False),
        ("from .third import x", False),
    ],
)
def test_a_circle_is_found_and_named(tmp_path, lines, circle):
    package = tmp_path / "nextitem_a"
    package.mkdir()
    for name, text in {"__init__": "", "one": lines, "other": "from nextitem_a import one", "third": ""}.items():
        (package / f"{name}.py").write_text(text)
    found = circle_in(needs_of(package))
    # From whichever of the two it begins.
    assert {*(found or "").split(" needs ")} == ({"nextitem_a.one", "nextitem_a.other"} if circle else {""})


def test_a_circle_of_folders_is_found(tmp_path):
    package = tmp_path / "nextitem_a"
    (package / "inner").mkdir(parents=True)
    for name, text in {
        "__init__": "from .plan import x",
        "inner/__init__": "",
        "inner/one": "from ..plan import x",
        "inner/names": "",
        "plan": "from .inner.names import x",
    }.items():
        (package / f"{name}.py").write_text(text)
    needs = needs_of(package)
    assert circle_in(needs) is None
    assert circle_in(folders_of(needs)) is not None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.folder)
def test_packages_import_no_sibling_but_what_the_design_allows(rule):
    violations = sibling_violations(ROOT, rule)
    assert not violations, "\n".join(violations)


def test_the_runtime_imports_only_what_triton_has():
    assert list((ROOT / RUNTIME).rglob("*.py")), f"{RUNTIME} holds no Python file: has it moved?"
    violations = runtime_violations(ROOT)
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("training", "import nextitem_export"),
        ("training", "from nextitem_client import ask"),
        ("export/nextitem_export", "from nextitem_training import cli"),
        ("export/nextitem_export", "from nextitem_training.model_zoo import x"),
        ("export/tests", "import nextitem_server"),
        ("server", "from nextitem_client.signature import Signature"),
        ("client/nextitem_client", "import nextitem_server.ports"),
        ("serving_tests", "from nextitem_export.cli import main"),
        ("benchmarks", "import nextitem_training.fit"),
    ],
)
def test_a_forbidden_import_is_found_with_its_place(tmp_path, folder, line):
    file = tmp_path / folder / "inner" / "module.py"
    file.parent.mkdir(parents=True)
    file.write_text(f"import json\n\ndef f():\n    {line}\n")
    rule = next(rule for rule in RULES if rule.folder == folder)
    (violation,) = sibling_violations(tmp_path, rule)
    assert violation.startswith(f"{folder}/inner/module.py:4 imports nextitem_")
    assert rule.remedy in violation


@pytest.mark.parametrize(
    ("file", "line", "forbidden"),
    [
        ("step.py", "import pandas as pd", True),
        ("step.py", "from nextitem_export.wire import x", True),
        ("features/nvtabular.py", "import scipy", True),
        ("features/nvtabular.py", "import pandas as pd", False),
        ("step.py", "from .request import Array", False),
        ("step.py", "import triton_python_backend_utils as pb_utils", False),
    ],
)
def test_a_runtime_import_is_judged_by_its_file(tmp_path, file, line, forbidden):
    path = tmp_path / RUNTIME / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def f():\n    {line}\n")
    violations = runtime_violations(tmp_path)
    assert bool(violations) == forbidden
    assert all(v.startswith(f"{RUNTIME}/{file}:2 imports ") for v in violations)
