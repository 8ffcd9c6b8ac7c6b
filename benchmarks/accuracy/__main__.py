"""How good are the recommendations, by the protocols that others report figures on, beside plain baselines?

    python -m benchmarks.accuracy --dataset diginetica|beauty|eshop --data FOLDER [--json FILE] [--quick | --smoke]
                                  [--config FILE ...] [--validation] [--only model|baselines] [--seed N]
    python -m benchmarks.accuracy --smoke

Trains through nextitem-train and ranks the whole catalogue. Without --config it is the configuration in benchmarks/accuracy/.
Several are first measured on the validation part, and the best of them on the test part; with --validation none is tested.
Every validation figure goes to benchmarks/results/accuracy-tried.json. What is done is kept in
benchmarks/.cache/accuracy/ and not done again. --smoke keeps and notes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.accuracy.baselines import Catalogue, baseline_ranks, cooccurrence, popularity
from benchmarks.accuracy.model import model_ranks
from benchmarks.accuracy.protocols import DATA_SETS, TEST, VALIDATION, Stage, read_stage
from benchmarks.accuracy.ranks import metrics_of
from benchmarks.accuracy.records import append_tried, merge, table
from benchmarks.accuracy.sessions import Questions
from benchmarks.accuracy.training import described, is_judged, trained, with_settings
from benchmarks.accuracy.tuning import GROUPS, QUESTIONS, tune
from benchmarks.accuracy.vsknn import Setting, VSkNN
from benchmarks.support.command_line import add_options
from benchmarks.support.measuring import commit, machine
from benchmarks.support.own_process import ROOT

#: The configuration that did best on each data set.
CONFIGURATIONS = Path(__file__).parent
CACHE = ROOT / "benchmarks" / ".cache" / "accuracy"
TRIED = ROOT / "benchmarks" / "results" / "accuracy-tried.json"
_QUICK_QUESTIONS, _SMOKE_QUESTIONS = 2_000, 100
#: What --smoke changes of a configuration, so that it trains in seconds.
_SMOKE_SETTINGS = {"model": {"d_model": 8, "layers": 1}}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write where asked to. Returns the command's exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = parser.parse_args(given)
    options.quick = options.quick or options.smoke
    missing = [name for name in DATA_SETS[options.dataset].files if not (options.data / name).is_file()]
    if missing:
        parser.error(
            f"{options.data} has no {missing[0]}; --data has to be the folder of the data set {options.dataset}."
        )
    try:
        with tempfile.TemporaryDirectory() as made:
            if options.smoke:  # whose figures are no record, and whose runs nobody asks again
                options.cache, options.tried = Path(made), Path(made) / "tried.json"
            return _measure(options, _command(given))
    except subprocess.CalledProcessError as error:
        print(
            f"accuracy: {error.cmd[0]} ended with {error.returncode}; what it says above is to be cured first.",
            file=sys.stderr,
        )
        return 2


def _measure(options: argparse.Namespace, command: str) -> int:
    results: dict[str, dict[str, float]] = {}
    told: dict[str, dict[str, Any]] = {}
    for part in ("model", "baselines"):
        if options.only in (None, part):
            began = time.monotonic()
            found, told[part] = _model_tested(options) if part == "model" else _baselines(options)
            told[part] |= {"took_s": round(time.monotonic() - began), "command": command, "commit": commit()}
            told[part] |= {"machine": machine(["torch", "transformers", "numpy"]), "quick": options.quick}
            results |= found
        if options.validation:
            return 0
    data_set = DATA_SETS[options.dataset]
    Console().print(table(f"{options.dataset}, test, %", data_set.metrics, results))
    if options.json:
        merge(options.json, options.dataset, results, {"protocol": data_set.protocol, **told})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--dataset", default="eshop", choices=list(DATA_SETS))
    parser.add_argument(
        "--data", type=Path, default=ROOT / "demo", metavar="FOLDER", help="the data set's (eshop: demo/)"
    )
    parser.add_argument(
        "--config", type=Path, nargs="+", metavar="FILE", help="for nextitem-train; several: the best is tested"
    )
    parser.add_argument("--validation", action="store_true", help="measure on the validation part alone")
    parser.add_argument("--only", choices=["model", "baselines"], help="measure these alone")
    parser.add_argument("--tried", type=Path, default=TRIED, metavar="FILE", help="where validation figures are added")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="FOLDER", help="where runs are kept")
    parser.add_argument("--seed", type=int, default=42, metavar="N")
    add_options(parser, quick="little data and one epoch: whether it works, not how well")
    return parser


def _model_tested(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Metrics of the model on the test stage, the configuration chosen on the validation stage where there are several."""
    files = options.config or [CONFIGURATIONS / f"{options.dataset}.toml"]
    if options.validation or len(files) > 1:
        files = [_best(options, files)]
    if options.validation:
        return {}, {}
    metrics, told = _model(options, files[0], TEST)
    return {"model": metrics}, {"seed": options.seed, **told}


def _best(options: argparse.Namespace, files: list[Path]) -> Path:
    """Measures each on the validation part, notes it, and returns the best by the data set's first metric."""
    chosen, measured = DATA_SETS[options.dataset].metrics, {}
    for file in files:
        metrics, told = _model(options, file, VALIDATION)
        measured[file.name] = metrics
        entry = {
            "dataset": options.dataset,
            "quick": options.quick,
            "seed": options.seed,
            **told,
            "validation": metrics,
        }
        append_tried(options.tried, {**entry, "commit": commit()})
    Console().print(table(f"{options.dataset}, validation, %", chosen, measured))
    if options.json and options.validation:
        results = {f"validation.{Path(name).stem}": metrics for name, metrics in measured.items()}
        merge(options.json, options.dataset, results, {"protocol": DATA_SETS[options.dataset].protocol})
    return max(files, key=lambda file: measured[file.name][chosen[0]])


def _model(options: argparse.Namespace, file: Path, name: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Metrics of a configuration's model on a stage, and what is told of it."""
    text = with_settings(file.read_text(encoding="utf-8"), "training", {"seed": options.seed})
    if options.quick:
        text = with_settings(text, "training", {"epochs": 1})
    if options.smoke:
        for table, settings in _SMOKE_SETTINGS.items():
            text = with_settings(text, table, settings)
    stage = read_stage(options.dataset, options.data, name, judged=is_judged(text), quick=options.quick)
    run = trained(stage, text, options.cache)
    metrics = _measured(run, name, _asked(options, stage))
    seconds = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["seconds"]
    return metrics, {
        "configuration": described(run),
        "train_s": seconds,
        "questions": len(stage.questions),
    }


def _asked(options: argparse.Namespace, stage: Stage) -> Questions:
    """The stage's questions, or a sample of them."""
    count = _SMOKE_QUESTIONS if options.smoke else _QUICK_QUESTIONS
    return stage.questions.some(count) if options.quick else stage.questions


def _measured(run: Path, name: str, questions: Questions) -> dict[str, float]:
    """Metrics of a run, kept beside it."""
    kept = run.with_name(f"{run.name}.{name}.json")
    if not kept.exists():
        kept.write_text(json.dumps(metrics_of(model_ranks(run, questions))), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def _baselines(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Metrics of the baselines on the test stage; V-SkNN's setting, and what was tried for it on the validation stage."""
    setting, tried = _tuned(options)
    stage = read_stage(options.dataset, options.data, TEST, quick=options.quick)
    questions = _asked(options, stage)
    catalogue = Catalogue.of(stage.training)
    scorers = {
        "vsknn": VSkNN(stage.training, catalogue).scorer(setting),
        "cooccurrence": cooccurrence(stage.training, catalogue),
        "popularity": popularity(catalogue),
    }
    found = {name: metrics_of(baseline_ranks(score, questions, catalogue, name)) for name, score in scorers.items()}
    return found, {"questions": len(questions), "vsknn": {"setting": dataclasses.asdict(setting), "tried": tried}}


def _tuned(options: argparse.Namespace) -> tuple[Setting, list[dict[str, Any]]]:
    """V-SkNN's setting and what was tried, kept once they are found."""
    groups, questions = (GROUPS[-1:], 100) if options.quick else (GROUPS, QUESTIONS)
    key = hashlib.sha256(repr((groups, questions, options.quick)).encode()).hexdigest()[:12]
    kept = options.cache / f"{options.dataset}-vsknn-{key}.json"
    if not kept.exists():
        stage = read_stage(options.dataset, options.data, VALIDATION, quick=options.quick)
        setting, tried = tune(stage, DATA_SETS[options.dataset].metrics[0], questions=questions, groups=groups)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([dataclasses.asdict(setting), tried]), encoding="utf-8")
    setting, tried = json.loads(kept.read_text(encoding="utf-8"))
    return Setting(**setting), tried


def _command(given: list[str]) -> str:
    """The command as one would give it elsewhere: of this machine's folders the last part."""
    return " ".join(
        ["python -m benchmarks.accuracy", *(Path(part).name if part[:1] == "/" else part for part in given)]
    )


if __name__ == "__main__":
    sys.exit(main())
