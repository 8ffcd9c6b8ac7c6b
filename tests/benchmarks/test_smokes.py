"""Every benchmark's command runs, with --smoke: real parts, the smallest sizes, seconds.

Those that train models or make catalogues for it are run by `make test-all`, and here as far as that takes no time.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import retraining
from benchmarks.support.command_line import write_figures
from benchmarks.support.own_process import output_of
from tests.support.benchmark_smokes import BENCHMARKS, figures, kept, smoke
from tests.support.repository_files import ROOT

#: Commands, and the figures in benchmarks/results/ that --smoke finds too: a file there, and what their names look like.
SMOKED = {
    "features": ("features", r"(?!.*_vocab_(1m_str|5m_int)$)"),
    "client.transports": ("client_transports", ""),
    "client.libraries": (None, ""),
    "retraining": ("retraining", r"(yesterday|warm_over|.*_at_1$|.*\.epochs)"),
    "training": ("training", r"10k_"),
    "cold_items": (None, ""),
    "accuracy": (None, ""),
    "accuracy.choices": (None, ""),
}
#: They train models, one after the other.
LONG = {"retraining", "training", "accuracy", "accuracy.choices", "cold_items"}
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


def main_of(name: str) -> str:
    """The module that holds the command's main()."""
    return f"benchmarks.{name}" + (".__main__" if (BENCHMARKS / name.replace(".", "/")).is_dir() else "")


def started_by_others() -> set[str]:
    """Commands that other benchmarks start in processes of their own."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in BENCHMARKS.rglob("*.py"))
    return set(re.findall(r'(?:output_of|module_command)\(\s*"benchmarks\.([\w.]+)"', text))


def asked_by_people() -> set[str]:
    """The modules with options; the others are started by these."""
    return {name for name in commands() if "add_options(" in source(name)}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SMOKED]
)
def test_the_benchmark_runs_and_its_figures_have_the_names_of_the_kept_ones(name, tmp_path):
    smoke(name, "--json", tmp_path / "figures.json")
    found = figures(tmp_path / "figures.json")
    results, pattern = SMOKED[name]
    if results:
        assert kept(results, pattern) - set(found) == set()


@pytest.mark.parametrize("name", sorted(asked_by_people()))
def test_each_says_what_it_can_be_asked(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as left:
        importlib.import_module(main_of(name)).main()
    assert left.value.code == 0
    assert {"--smoke", "--quick", "--json"} <= set(re.findall(r"--[a-z]+", capsys.readouterr().out))


@pytest.mark.parametrize(
    ("scratch", "code", "epochs"),
    [({1: 0.1, 2: 0.2, 3: 0.3}, 0, {"warm": 1, "scratch": 3}), ({1: 0.3}, 1, {"warm": 1, "scratch": 1})],
    ids=["worth it", "not worth it"],
)
def test_retraining_counts_epochs_to_yesterdays_recall(scratch, code, epochs, monkeypatch, tmp_path):
    def recall(folder, data, run, count, *options):
        assert options == (("--init-from", str(folder / "old")) if run.startswith("warm") else ())
        return {"old": 0.3, "warm1": 0.4}.get(run) or scratch[count]

    monkeypatch.setattr(retraining, "_recall", recall)
    monkeypatch.setattr(retraining, "_recall_of_yesterday", lambda folder, clicks: 0.3)
    monkeypatch.setattr(retraining, "FULL", retraining.Size(None, (1, 2, 3), share=1000))
    monkeypatch.setattr(sys, "argv", ["retraining", "--json", str(tmp_path / "figures.json")])
    assert retraining.main() == code
    found = figures(tmp_path / "figures.json")
    assert kept(*SMOKED["retraining"]) - set(found) == set()
    assert {way: found[f"{way}.epochs"] for way in epochs} == epochs


@pytest.mark.slow
def test_vectors_are_trained_and_a_catalogue_is_made_of_them(tmp_path):
    smoke("catalogue.vectors", "--output", tmp_path / "vectors.npz")
    smoke("catalogue", "--vectors", tmp_path / "vectors.npz", "--json", tmp_path / "figures.json")
    expected = {name.replace("_50k.", "_2k.") for name in kept("catalogue", r"[a-z0-9]+_50k\.")}
    assert expected - set(figures(tmp_path / "figures.json")) == set()


def test_every_command_is_run_by_a_test():
    tests = [path.read_text(encoding="utf-8") for path in ROOT.glob("**/tests/**/test_*.py")]
    tests += [path.read_text(encoding="utf-8") for path in (ROOT / "serving_tests").rglob("test_*.py")]
    elsewhere = {
        name
        for name in commands()
        for text in tests
        if f'smoke("{name}", ' in text or (f'"benchmarks.{name}"' in text and '"--smoke"' in text)
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
