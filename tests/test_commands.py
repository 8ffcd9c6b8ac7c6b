"""Commands that pages, the Makefile and docstrings name exist, and know the options that are named with them."""

import ast
import contextlib
import importlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from demo import make_data
from tests.support.repository_files import ROOT, our_files, text_of

#: The tables of numbers and words in demo/make_data.py.
CODE_BOOKS = ("CATEGORIES", "COLOURS", "LOCATIONS")
#: Each command's main.
OURS = {
    "nextitem-train": "nextitem_training.cli",
    "nextitem-import": "nextitem_training.importing.cli",
    "nextitem-export": "nextitem_export.cli",
    "nextitem-catalogue": "nextitem_export.catalogue.cli",
    "nextitem-serve": "nextitem_server.cli",
    "nextitem-recommend": "nextitem_client.cli",
}
SCRIPTS = r"(?:python (?:-m benchmarks(?:\.\w+)+|(?:benchmarks|demo)/\w+\.py)|scripts/[\w-]+(?![\w/-]))"
#: At the beginning of a line of code, or behind a pipe or a variable.
COMMAND = re.compile(
    rf"(?:^|[|&] |^\w+=\S* )(?:\$ )?(?P<name>nextitem-[a-z]+(?![\w-])|{SCRIPTS}|make (?=[a-z]))"
    r"(?P<rest>(?:(?! [|] [a-z]|&&)[^`\n])*)"
)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
#: `code` in prose, and lines of code: fenced, indented, or in a docstring.
INLINE = re.compile(r"`([^`\n]+)`")
CODE_LINE = re.compile(r"^(?:    |#   )(\S.*)", re.MULTILINE)
FENCED = re.compile(r"^```(?:console|sh|bash|shell|)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def named_commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command that stands as code in this text, with what follows it on its line; a backslash joins lines."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = [*INLINE.findall(text), *CODE_LINE.findall(text)]
    lines += [line for block in FENCED.findall(text) for line in block.splitlines()]
    for line in lines:
        for match in COMMAND.finditer(line):
            rest = re.split(r"\s#|\s--(?:\s|$)|[;)]", match["rest"])[0]
            yield match["name"].strip(), rest.strip()


def source_of(command: str) -> Path:
    """The file of a script, or of a module that python -m runs, whether it is there or not."""
    name = command.removeprefix("python ")
    if not name.startswith("-m "):
        return ROOT / name
    path = ROOT / name.removeprefix("-m ").replace(".", "/")
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


def known_options(command: str) -> set[str]:
    """The options of a command, from its own --help, or of a script, which a test need not wait for, from its source."""
    if command in OURS:
        return set(OPTION.findall(help_of(command)))
    path = source_of(command)
    found = set(re.findall(r'add_argument\(\s*"(--[a-z][\w-]*)"', path.read_text(encoding="utf-8")))
    if "add_options(" in path.read_text(encoding="utf-8"):
        found |= {"--quick", "--smoke", "--json"}
    return found


def help_of(command: str) -> str:
    """What a command prints for --help."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as left:
        importlib.import_module(OURS[command]).main(["--help"])
    assert left.value.code == 0
    return printed.getvalue()


def make_targets() -> dict[str, str]:
    """Each target that make is asked for, and its recipe."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", makefile, re.MULTILINE)[1].replace("\\\n", " ").split()
    recipes = {name: re.search(rf"^{name}:.*\n((?:\t.*\n)*)", makefile, re.MULTILINE) for name in phony}
    assert all(recipes.values()), "a target of .PHONY has no rule"
    return {name: recipe[1] for name, recipe in recipes.items()}


def wrong(name: str, rest: str) -> list[str]:
    """What of a command is not so: `make` with targets and variables, a command or a script with options."""
    if name == "make":
        words = re.findall(r"[\w-]+=|[\w-]+", re.sub(r"='[^']*'|=\S*", "= ", rest))
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = words[: next((place for place, word in enumerate(words) if word.endswith("=")), len(words))][:1]
        wrong_variables = [w for w in words if w.endswith("=") and f"$({w[:-1]})" not in makefile]
        return [*(target for target in targets if target not in make_targets()), *wrong_variables]
    if name.startswith("nextitem-") and name not in OURS:
        return [name] if "--" in rest else []  # a package or an image has such a name too
    if name not in OURS and not source_of(name).is_file():
        return [name]
    return sorted(set(OPTION.findall(rest)) - known_options(name))


def commands_of(path: Path) -> list[tuple[str, str]]:
    """The commands that a page, the Makefile, a script or a module's docstring names."""
    text = text_of(path) or ""
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    elif path.suffix not in {".md", ""} or path.name == "Dockerfile":
        return []
    return list(dict.fromkeys(named_commands(text)))


def test_every_command_that_is_named_exists_with_its_options():
    found = [
        f"{path.relative_to(ROOT)} names '{name} {rest}', and there is no {', '.join(faults)}."
        for path in our_files()
        for name, rest in commands_of(path)
        if (faults := wrong(name, rest))
    ]
    assert not found, "\n".join(found)


def test_commands_are_found_where_they_are_named():
    found = {name for path in our_files() for name, _ in commands_of(path)}
    assert set(OURS) | {"make", "python -m benchmarks.features", "scripts/bootstrap"} <= found


def test_every_script_that_is_named_is_run_by_a_test():
    tests = "\n".join(text_of(path) for path in our_files() if path.name.startswith("test_") and path.suffix == ".py")
    named = {name.removeprefix("python ") for path in our_files() for name, _ in commands_of(path)}
    named |= set(re.findall(r"/python (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    scripts = {name for name in named if "/" in name}  # modules of benchmarks: test_smokes.py
    # The first makes the environment that tests run in, the second pictures for machines without a registry.
    scripts -= {"scripts/bootstrap", "scripts/stand-in-base"}
    assert {"demo/run.py", "scripts/test-container"} <= scripts
    assert {name for name in scripts if f'"{name}"' not in tests} == set()


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("    $ nextitem-train --data x --epoch 3", ["--epoch"]),
        ("see `nextitem-exports --run x`", ["nextitem-exports"]),
        ("    nextitem-export --run a \\\n        --nmae b", ["--nmae"]),
        ("```console\n$ make demos BODY=x\n```", ["demos"]),
        ("`make bench FAST=1`", ["FAST="]),
        ("    python -m benchmarks.features --fast", ["--fast"]),
        ("    python -m benchmarks.gone", ["python -m benchmarks.gone"]),
        ("    python benchmarks/gone.py", ["python benchmarks/gone.py"]),
        ("`nextitem-serve --http-port 1 -- --log-verbose 1`", []),
        ("`make demo BODY='a b' PRETRAINING=rtd`", []),
    ],
)
def test_a_wrong_command_is_found(text, faults):
    (command,) = dict.fromkeys(named_commands(text))
    assert wrong(*command) == faults


def run(*command: object, **more: object) -> subprocess.CompletedProcess:
    """A script of the project in a process of its own."""
    return subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, **more)


def test_the_demos_data_is_made_of_the_published_file(tmp_path):
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet").head(50)
    clicks = clicks[clicks.photography == "en face"]
    numbers = {name: {text: number for number, text in getattr(make_data, name).items()} for name in CODE_BOOKS}
    published = pd.DataFrame(
        {
            "year": clicks.timestamp.dt.year, "month": clicks.timestamp.dt.month, "day": clicks.timestamp.dt.day,
            "order": clicks.timestamp.dt.second + 60 * clicks.timestamp.dt.minute + 1, "country": clicks.country,
            "session ID": clicks.session_id, "page 1 (main category)": clicks.category.map(numbers["CATEGORIES"]),
            "page 2 (clothing model)": clicks.item_id, "colour": clicks.colour.map(numbers["COLOURS"]),
            "location": clicks.location.map(numbers["LOCATIONS"]), "model photography": 1, "price": clicks.price,
            "page": clicks.page,
        }
    )  # fmt: skip
    published.to_csv(tmp_path / "published.csv", sep=";", index=False)
    done = run("demo/make_data.py", tmp_path / "published.csv", "--output", tmp_path / "made.parquet", timeout=60)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "made.parquet"), clicks.reset_index(drop=True))


def test_a_value_that_the_code_book_lacks_is_refused(tmp_path):
    header = "year;month;day;order;country;session ID;page 1 (main category);page 2 (clothing model);colour;location;"
    row = "2008;4;1;1;29;1;9;A13;1;5;1;28;1"
    (tmp_path / "published.csv").write_text(f"{header}model photography;price;page\n{row}\n")
    done = run("demo/make_data.py", tmp_path / "published.csv", "--output", tmp_path / "made.parquet", timeout=60)
    assert "The source holds a value that the code book does not list." in done.stderr
    assert not (tmp_path / "made.parquet").exists()


@pytest.mark.slow
def test_the_demo_runs():
    done = run("demo/run.py", "--smoke", timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "rankings other than offline" in done.stdout
