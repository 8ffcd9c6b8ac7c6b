"""What must not be in this repository, and what its pages must not promise in vain."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository_files import FENCE, ROOT, our_files, text_of

# Written apart, so that this file does not contain what it looks for.
FOREIGN_TEXT = {
    "a path of somebody's machine": re.compile(
        "|".join(["/ho" + r"me/\w", "/Us" + r"ers/\w", "/ro" + "ot/", "/wo" + "rk/"])
    ),
    "the address of a private registry": re.compile(
        "|".join(
            [
                r"://[^\s/\"']*\.(?:inter" + r"nal|corp|lan)\b",
                r"://(?:[^\s/\"']*@)?(?:1" + r"0\.|192\." + r"168\.|172\.(?:1[6-9]|2\d|3[01])\.)\d",
                "artifact" + r"ory|\bnex" + r"us\.|-docker\.pkg" + r"\.dev|artifact-" + "registry",
            ]
        )
    ),
}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve"}
# A run directory's workflow/ is NVTabular's own pickle (docs/run-directory.md); the module that
# writes it takes the machine's paths out of it.
UNPICKLERS_BY_FILE = {
    "training/nextitem_training/workflow.py": {"cloudpickle"},
    "training/nextitem_training/operators/without_gpu.py": {"pickle"},
    "client/tests/test_real_programs.py": {"pickle"},  # of a client that it made itself, as multiprocessing does
}
UNPICKLING_ARGUMENTS = {("allow_pickle", True), ("weights_only", False)}
DRAWERS = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
#: What each page of docs/decisions/ says, in this order.
DECISION_HEADINGS = ("Context", "Decision", "Alternatives considered", "Consequences")
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")


def unpicklings(path: Path) -> Iterator[str]:
    """A sentence for each import or argument by which reading data could run code."""
    remedy = "use safetensors, npy, JSON or ONNX: reading a pickle runs the code in it."
    allowed = {ROOT / name: modules for name, modules in UNPICKLERS_BY_FILE.items()}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] in UNPICKLERS - allowed.get(path, set()):
                yield f"{path}:{node.lineno} imports {name}; {remedy}"
        if (
            isinstance(node, ast.keyword)
            and isinstance(node.value, ast.Constant)
            and (node.arg, node.value.value) in UNPICKLING_ARGUMENTS
        ):
            yield f"{path}:{node.lineno} says {node.arg}={node.value.value}; {remedy}"


def foreign_texts(path: Path) -> Iterator[str]:
    """A sentence for each line that only makes sense on one machine or in one company."""
    for number, line in enumerate((text_of(path) or "").splitlines(), start=1):
        for what, pattern in FOREIGN_TEXT.items():
            match = pattern.search(line)
            if match:
                yield (
                    f"{path}:{number} holds {what} ({match[0]!r}); find it out at run time or "
                    "leave it to the user's configuration."
                )


def broken_links(page: Path) -> Iterator[str]:
    """A sentence for each relative link of a Markdown page whose file is not there."""
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    for match in LINK.finditer(prose):
        target = match[1].split("#")[0]
        if not target or re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        base = ROOT if target.startswith("/") else page.parent
        if not (base / target.lstrip("/")).exists():
            line = prose.count("\n", 0, match.start()) + 1
            yield f"{page}:{line} links to {target}, which is not there; correct or drop the link."


def misplaced(path: Path) -> Iterator[str]:
    """A sentence for a file that has no business in the repository by its name."""
    if path.name in DRAWERS:
        yield f"{path}: a file is about one thing; name it after that thing."
    if path.parent.name == "categories":
        yield (
            f"{path.parent}/: NVTabular wrote it where a Workflow was fitted; delete it and fit in "
            "a temporary folder (Categorify(out_path=…), or monkeypatch.chdir(tmp_path) in a test)."
        )


def decision_faults(folder: Path) -> Iterator[str]:
    """A sentence for each decision without a number of its own, one of the four headings, or a line in README.md."""
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(page for page in folder.glob("*.md") if page.name != "README.md")
    numbers = Counter(page.name[:4] for page in pages)
    for page in pages:
        text, number = page.read_text(encoding="utf-8"), page.name[:4]
        if numbers[number] > 1:
            yield f"{page}: {number} is the number of {numbers[number]} decisions; give this one the next free number."
        if not text.startswith(f"# {number}: "):
            yield f"{page} does not begin with '# {number}: ' and its title."
        headings = tuple(re.findall(r"^## (.*)", text, re.MULTILINE))
        if headings != DECISION_HEADINGS:
            yield f"{page} has the headings {headings}, expected are {DECISION_HEADINGS}."
        if f"({page.name})" not in index:
            yield f"{page} has no line in {folder}/README.md."


def test_nothing_of_ours_reads_pickles():
    found = [v for path in our_files() if path.suffix == ".py" for v in unpicklings(path)]
    assert not found, "\n".join(found)


def test_no_text_belongs_to_one_machine():
    found = [v for path in our_files() for v in foreign_texts(path)]
    assert not found, "\n".join(found)


def test_relative_links_lead_somewhere():
    found = [v for path in our_files() if path.suffix == ".md" for v in broken_links(path)]
    assert not found, "\n".join(found)


def test_files_are_named_after_what_they_are_about():
    found = {v for path in our_files() for v in misplaced(path.relative_to(ROOT))}
    assert not found, "\n".join(sorted(found))


def test_decisions_have_numbers_of_their_own_and_the_four_headings():
    assert list((ROOT / "docs/decisions").glob("0*.md"))
    found = list(decision_faults(ROOT / "docs/decisions"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from cloudpickle import dumps",
        "np.load(f, allow_pickle=True)",
        "torch.load(f, weights_only=False)",
    ],
)
def test_a_pickle_reader_is_found(tmp_path, line):
    file = tmp_path / "module.py"
    file.write_text(f"import json\n\n\ndef f():\n    {line}\n")
    (violation,) = unpicklings(file)
    assert violation.startswith(f"{file}:5 ")
    assert "use safetensors" in violation


@pytest.mark.parametrize(
    "text",
    [
        "/ho" + "me/ann/x",
        "/ro" + "ot/.cache",
        "cd /wo" + "rk/x",
        "http://pypi.co" + "rp/simple",
        "https://me:secret@" + "10.0.0.7/simple",
        "europe-docker.pkg" + ".dev/x/y",
    ],
)
def test_a_foreign_text_is_found(tmp_path, text):
    file = tmp_path / "page.md"
    file.write_text(f"one\nsee {text}\n")
    (violation,) = foreign_texts(file)
    assert violation.startswith(f"{file}:2 holds ")


@pytest.mark.parametrize("text", ["http://10x.example/", "/workspace/", "/opt/tritonserver/bin"])
def test_a_public_text_passes(tmp_path, text):
    file = tmp_path / "page.md"
    file.write_text(text)
    assert not list(foreign_texts(file))


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "there.md").write_text("")
    page = tmp_path / "README.md"
    page.write_text(
        "[ok](there.md#part) [web](https://example.org) [part](#part)\n"
        "```\n[code](none.md)\n```\n\nSee [it](docs/gone.md).\n"
    )
    (violation,) = broken_links(page)
    assert violation.startswith(f"{page}:6 links to docs/gone.md")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("0001-b.md", "", "number of 2 decisions"),
        ("0002-b.md", "# 2. b", "does not begin"),
        ("0002-b.md", "## Context", "has the headings ('Context',)"),
        ("0002-b.md", "", "has no line"),
    ],
)
def test_a_faulty_decision_is_found(tmp_path, name, text, fault):
    right = "".join(f"\n## {heading}\n" for heading in DECISION_HEADINGS)
    (tmp_path / "0001-a.md").write_text("# 0001: a\n" + right)
    (tmp_path / "README.md").write_text("(0001-a.md)")
    assert not list(decision_faults(tmp_path))
    (tmp_path / name).write_text(text)
    assert any(fault in sentence for sentence in decision_faults(tmp_path))


@pytest.mark.parametrize("name", ["a/utils.py", "x/common.py", "a/categories/unique.x.parquet"])
def test_a_misplaced_file_is_found(name):
    assert list(misplaced(Path(name)))
