"""Every benchmark's command runs, with --smoke: real parts, the smallest sizes, seconds."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.command_line import write_figures
from benchmarks.support.own_process import output_of

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
#: Commands, and the figures in benchmarks/results/ that --smoke finds too: a file there, and what their names look like.
SMOKED = {
    "features": ("features", r"(?!.*_vocab_(1m_str|5m_int)$)"),
    "client.transports": ("client_transports", ""),
    "client.libraries": (None, ""),
    "retraining": ("retraining", r"(yesterday|warm_over|.*_at_1$|.*\.epochs)"),
    "accuracy": (None, ""),
    "accuracy.choices": (None, ""),
    "serving": ("serving", r"(inprocess\.|fused\.(max_rate|goodput)|(fused|fastapi_ort|noop)\.memory_mb)"),
}
#: Of the servers under load one of each kind, since each takes seconds to start.
FEW = {"serving": ("--only", "fused", "fastapi_ort", "noop")}
#: Tested below, one with the other's vectors.
TOGETHER = {"catalogue.vectors", "catalogue"}


def commands() -> set[str]:
    """Modules of benchmarks that can be run, a package by its __main__.py."""
    found = {path for path in BENCHMARKS.rglob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
    names = (".".join(path.relative_to(BENCHMARKS).with_suffix("").parts) for path in found)
    return {name.removesuffix(".__main__") for name in names}


def source(name: str) -> str:
    """The text of a module that can be run."""
    path = BENCHMARKS / name.replace(".", "/")
    return (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def started_by_others() -> set[str]:
    """Commands that other benchmarks start in processes of their own."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in BENCHMARKS.rglob("*.py"))
    return set(re.findall(r'(?:output_of|module_command)\(\s*"benchmarks\.([\w.]+)"', text))


def smoke(name: str, *arguments: object) -> None:
    """Run the command with --smoke; fails with what it said."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def figures(file: Path) -> dict[str, float]:
    """The metrics of a report; all are figures, null where a latency is infinite."""
    found = json.loads(file.read_text(encoding="utf-8"))["metrics"]
    wrong = {name: value for name, value in found.items() if not isinstance(value, int | float | None)}
    assert found
    assert not wrong
    return found


def kept(name: str, pattern: str) -> set[str]:
    """Names of the figures in benchmarks/results/ that match."""
    text = (BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8")
    found = {key for key in json.loads(text)["metrics"] if re.match(pattern, key)}
    assert found, f"no figure in results/{name}.json looks like {pattern}"
    return found


@pytest.mark.parametrize("name", SMOKED)
def test_the_benchmark_runs_and_its_figures_have_the_names_of_the_kept_ones(name, tmp_path):
    smoke(name, "--json", tmp_path / "figures.json", *FEW.get(name, ()))
    found = figures(tmp_path / "figures.json")
    results, pattern = SMOKED[name]
    if results:
        assert kept(results, pattern) - set(found) == set()


def test_vectors_are_trained_and_a_catalogue_is_made_of_them(tmp_path):
    smoke("catalogue.vectors", "--output", tmp_path / "vectors.npz")
    smoke("catalogue", "--vectors", tmp_path / "vectors.npz", "--json", tmp_path / "figures.json")
    expected = {name.replace("_50k.", "_2k.") for name in kept("catalogue", r"[a-z0-9]+_50k\.")}
    assert expected - set(figures(tmp_path / "figures.json")) == set()


def test_every_command_is_run_by_a_test():
    tests = [path.read_text(encoding="utf-8") for path in ROOT.glob("**/tests/**/test_*.py")]
    tests += [path.read_text(encoding="utf-8") for path in (ROOT / "serving_tests").glob("test_*.py")]
    elsewhere = {
        name for name in commands() for text in tests if f'"benchmarks.{name}"' in text and '"--smoke"' in text
    }
    missing = commands() - set(SMOKED) - TOGETHER - started_by_others() - elsewhere
    assert not missing, f"give {', '.join(sorted(missing))} a --smoke, and name it in SMOKED"


def test_what_others_start_is_there():
    assert started_by_others() <= commands()


def test_every_benchmark_is_a_target_of_make_that_can_be_quick_and_write_elsewhere():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = dict(re.findall(r"^(bench[\w-]*):.*\n\t\$\(BIN\)/python -m benchmarks\.([\w.]+)", makefile, re.MULTILINE))
    assert set(SMOKED) | {"catalogue"} <= set(targets.values())
    for target, module in targets.items():
        asked = ["make", "-n", "-o", ".venv/.complete", target, "QUICK=1", "JSON=found.json"]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.count(f"-m benchmarks.{module} ") == 1
        assert "--quick" in done.stdout
        assert "--json 'found.json'" in done.stdout
        assert "results/" not in done.stdout


def test_a_module_that_fails_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "broken.py").write_text("print('before')\n{}['codes']\n")
    with pytest.raises(RuntimeError, match=r"broken failed with exit code 1: (.|\n)*KeyError: 'codes'"):
        output_of("broken")
    (tmp_path / "prints.py").write_text("import sys\nprint(sys.argv[1:])")
    monkeypatch.chdir(tmp_path)
    assert output_of("prints", 7, Path("here")) == f"['7', '{tmp_path / 'here'}']\n"


def test_without_a_file_no_figures_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_figures({"metrics": {"a": 1.0}}, None)
    assert list(tmp_path.iterdir()) == []


def test_every_benchmark_says_in_its_first_lines_how_it_is_run():
    for name in sorted(commands()):
        text = ast.get_docstring(ast.parse(source(name))) or ""
        assert re.search(rf"^    python -m benchmarks\.{re.escape(name)}( |$)", text, re.MULTILINE), name
