"""Files that pages, comments, docstrings and messages name are there."""

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository_files import FENCE, ROOT, our_files, text_of

#: What is made at run time in folders of the project, and so may be named without being in it.
MADE = re.compile(r"(runs|model_repository|benchmarks/\.cache|benchmarks/results/FILE)(/|\.|$)|model_repository$")
#: Pages and modules by name, with or without folders: `docs/tuning.md`, `recipes.py`.
PAGE_OR_MODULE = re.compile(r"(?<![\w./:*{<-])((?:[\w.*-]+/)*[\w*-]+\.(?:md|py))\b(?![/\w(])")
#: Chapters of what was agreed before the project, which its reader does not have.
UNKNOWN_CHAPTER = re.compile(r"\bDESIGN\b|\bMUST \d")
COMMENT = re.compile(r"(?:^|\s)#(.*)")
#: Files whose comments begin with #, by suffix or name.
WITH_COMMENTS = {".toml", ".yml", ".yaml", ".cfg", ".pbtxt", "", ".lock"}


def named_in_folders(folders: set[str]) -> re.Pattern[str]:
    """Paths that begin with one of the project's own folders."""
    return re.compile(rf"(?<![\w./:~$}}-])((?:{'|'.join(map(re.escape, sorted(folders)))})/[\w./*-]*[\w*/])(?![\w<{{])")


class Project:
    """The names of files and folders that there are."""

    def __init__(self, files: list[Path]) -> None:
        relative = [path.relative_to(ROOT) for path in files]
        self.known = {*relative, *(parent for path in relative for parent in path.parents)}
        self.in_folders = named_in_folders({path.parts[0] for path in relative if len(path.parts) > 1})
        self._ends = {"/".join(path.parts[start:]) for path in self.known for start in range(len(path.parts))}

    def has(self, name: str, beside: Path) -> bool:
        """Whether a file or folder is called so, from the root on, beside the file that names it, or by its last parts."""
        path = name.rstrip("/")
        if MADE.match(path) or path in self._ends:
            return True
        if "*" in path:
            return any(known.match(path) for known in self.known)
        return Path(os.path.normpath(beside / path)) in self.known

    def missing(self, text: str, file: Path, *, first: int = 1) -> Iterator[str]:
        """A sentence for each name in this text of a file that is no file's."""
        for number, line in enumerate(text.splitlines(), start=first):
            for match in {*PAGE_OR_MODULE.findall(line), *self.in_folders.findall(line)}:
                if not self.has(match, file.parent):
                    yield f"{file}:{number} names {match}, which is not there; correct the name or say what is meant."
            if unknown := UNKNOWN_CHAPTER.search(line):
                yield f"{file}:{number} cites '{unknown[0]}', which is not in the project; name a page that is."


def written_texts(path: Path) -> Iterator[tuple[int, str]]:
    """What a file says to people, with the line on which it begins."""
    text = text_of(path)
    if text is None:
        return
    if path.suffix == ".md":
        yield 1, FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    elif path.suffix == ".py":
        yield from python_texts(text, messages=not path.name.startswith("test_"))
    elif path.suffix in WITH_COMMENTS:
        for number, line in enumerate(text.splitlines(), start=1):
            yield from ((number, comment) for comment in COMMENT.findall(line))


def python_texts(source: str, *, messages: bool) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and, with `messages`, every other text of several words."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    tree = ast.parse(source)
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(text := node.value, str):
            told = id(node) in documented or (messages and " " in text)
            yield from [(node.lineno, text)] if told else []


def test_every_file_that_is_named_is_there():
    files = our_files()
    project = Project(files)
    found = [
        sentence
        for path in files
        for line, text in written_texts(path)
        for sentence in project.missing(text, path.relative_to(ROOT), first=line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text", "missing"),
    [
        ("page.md", "See `NOTES.md`.", "NOTES.md"),
        ("page.md", "one\n\nSee docs/gone.md, please.", "docs/gone.md"),
        ("module.py", "x = 1  # as HOUSE.md has it", "HOUSE.md"),
        ("module.py", '"""Read by benchmarks/gone.py."""', "benchmarks/gone.py"),
        ("module.py", 'def f():\n    raise ValueError("see docs/gone.md")', "docs/gone.md"),
        ("Makefile", "all:  # scripts/gone does it", "scripts/gone"),
        ("page.md", "`deploy/gone/`", "deploy/gone/"),
        ("module.py", "# MUST 5", "MUST 5"),
        ("module.py", "# DESIGN's contract", "DESIGN"),
    ],
)
def test_a_file_that_is_not_there_is_found(tmp_path, name, text, missing):
    file = tmp_path / name
    file.write_text(text)
    project = Project(our_files())
    found = [s for line, part in written_texts(file) for s in project.missing(part, Path(name), first=line)]
    assert len(found) == 1
    assert missing in found[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "page.md",
            "`docs/tuning.md`, tuning.md, docs/decisions/*.md, docs/, runs/shop/model.py and model_repository/shop",
        ),
        ("page.md", "```\npython gone.py\n```\nhttps://example.org/docs/gone.md"),
        ("module.py", 'x = "gone.md"'),
        ("test_module.py", 'x = "see docs/gone.md"'),
    ],
)
def test_a_file_that_is_there_or_of_somebody_else_passes(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    project = Project(our_files())
    assert [s for line, part in written_texts(file) for s in project.missing(part, Path(name), first=line)] == []


def test_each_folder_of_a_package_has_a_line_in_the_architecture():
    described = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    packages = {path.parent.relative_to(ROOT).as_posix() for path in our_files() if path.name == "__init__.py"}
    packages = {folder for folder in packages if folder.split("/")[1:2] == [f"nextitem_{folder.split('/')[0]}"]}
    assert "export/nextitem_export/retrieval" in packages
    missing = sorted(folder for folder in packages if f"| `{folder}/` |" not in described)
    assert not missing, f"docs/architecture.md has no line for {', '.join(missing)}: say there what the folder is."
