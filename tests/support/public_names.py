"""The public names of the five packages with their docstrings, read from the sources without importing them."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.repository_files import ROOT

#: Modules that people import from. Of those without `__all__` every name that has no underscore in front is public.
PUBLIC_MODULES = (
    "nextitem_client",
    "nextitem_client.bulk",
    "nextitem_client.testing",
    "nextitem_server",
    "nextitem_export",
    "nextitem_export.adapters",
    "nextitem_bundle.checksums",
    "nextitem_bundle.config",
    "nextitem_bundle.errors",
    "nextitem_bundle.file_names",
    "nextitem_bundle.lock",
    "nextitem_bundle.manifest",
    "nextitem_bundle.names",
    "nextitem_bundle.placing",
    "nextitem_bundle.signature",
    "nextitem_bundle.versions",
    "nextitem_bundle.wire",
    "nextitem_training.operators",
)
#: Modules of nextitem_bundle that only the project's own packages import.
PRIVATE_MODULES = ("nextitem_bundle.commands", "nextitem_bundle.lazy")
#: Of a module that is private but for these.
PUBLIC_NAMES = {"nextitem_training.workflow": ("null_safe", "vocabulary")}
#: Sections of a docstring in Google style whose entries have names.
_SECTION = re.compile(r"^(Args|Attributes):\n((?:[ ]{4}.*\n|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\*{0,2}\w+)(?: \([^)]*\))?: \S", re.MULTILINE)


@dataclass(frozen=True)
class Documented:
    """A name with what its docstring has to describe. parameters: of a call, or the fields of a dataclass."""

    name: str
    docstring: str
    parameters: tuple[str, ...] = ()
    members: tuple[Documented, ...] = field(default=(), repr=False)

    @property
    def described(self) -> set[str]:
        """The parameters and attributes that the docstring describes one by one."""
        sections = _SECTION.findall(self.docstring + "\n")
        return {name.lstrip("*") for _, entries in sections for name in _ENTRY.findall(entries)}

    def with_members(self) -> Iterator[Documented]:
        """It, and the public methods and properties of a class."""
        yield self
        yield from self.members


def public_names() -> list[Documented]:
    """Every public name of every public module, by its path for an import."""
    names = [(module, name) for module in PUBLIC_MODULES for name in names_of(module)]
    names += [(module, name) for module, chosen in PUBLIC_NAMES.items() for name in chosen]
    return [documented(module, name) for module, name in names]


def names_of(module: str) -> list[str]:
    """What `__all__` lists; of a module without one, what it defines."""
    definitions = _definitions(module)
    if "__all__" in definitions:
        return list(ast.literal_eval(definitions["__all__"].value))
    return [name for name, node in definitions.items() if not name.startswith("_") and not _is_import(node)]


def documented(module: str, name: str) -> Documented:
    """A name of a module, wherever it is defined."""
    home, node = _found(module, name)
    return _described(f"{module}.{name}", home, node)


@functools.cache
def _source(module: str) -> tuple[ast.Module, str, bool]:
    """A module's tree, its package, and whether it is one itself."""
    path = ROOT / module.split(".")[0].removeprefix("nextitem_") / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    package = module if path.is_dir() else module.rpartition(".")[0]
    return ast.parse(Path(file).read_text(encoding="utf-8")), package, path.is_dir()


@functools.cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """Names at a module's outermost level, also those that are imported for type checkers alone."""
    found: dict[str, ast.stmt] = {}
    waiting = list(_source(module)[0].body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.If):
            waiting[:0] = node.body
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {part.id: node for part in parts if isinstance(part, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: node for alias in node.names}
    return found


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom)


def _found(module: str, name: str) -> tuple[str, ast.stmt]:
    """The module that defines a name, and the definition."""
    node = _definitions(module)[name]
    if not isinstance(node, ast.ImportFrom):
        return module, node
    package = _source(module)[1]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    source = node.module or "" if node.level == 0 else ".".join(filter(None, (package, node.module)))
    original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
    return _found(source, original)


def _described(path: str, module: str, node: ast.stmt) -> Documented:
    if isinstance(node, ast.ClassDef):
        return _class(path, module, node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return Documented(path, ast.get_docstring(node) or "", _parameters(node))
    return Documented(path, _text_below(module, node))


def _class(path: str, module: str, node: ast.ClassDef) -> Documented:
    members: dict[str, Documented] = {}
    parameters: tuple[str, ...] = ()
    for home, base in reversed(_bases(module, node)):
        for part in base.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_"):
                members[part.name] = _described(f"{path}.{part.name}", home, part)
            elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
                parameters = _parameters(part)
        if any("dataclass" in ast.unparse(decorator) for decorator in base.decorator_list):
            parameters += tuple(_fields(base))
    if module.startswith("nextitem_training.operators"):
        members = {}  # what NVTabular calls
    return Documented(path, ast.get_docstring(node) or "", parameters, tuple(members.values()))


def _bases(module: str, node: ast.ClassDef) -> list[tuple[str, ast.ClassDef]]:
    """The class and those of ours that it is made from, nearest first."""
    found = [(module, node)]
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in _definitions(module):
            definition = _definitions(module)[base.id]
            if isinstance(definition, ast.ImportFrom) and not f"{definition.module}".startswith("nextitem_"):
                continue
            home, there = _found(module, base.id)
            if isinstance(there, ast.ClassDef):
                found += _bases(home, there)
    return found


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and not part.target.id.startswith("_"):
            yield part.target.id


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    given = node.args
    several = [one for one in (given.vararg, given.kwarg) if one is not None]
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, *several)]
    return tuple(name for name in names if name not in ("self", "cls"))


def _text_below(module: str, node: ast.stmt) -> str:
    """The docstring of a constant: a text right below it."""
    body = _source(module)[0].body
    place = body.index(node) + 1 if node in body else len(body)
    below = body[place] if place < len(body) else None
    if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
        return below.value.value
    return ""
