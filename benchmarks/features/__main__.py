"""The features step against NVTabular: the same requests through the compiled graph, the compiled program and the workflow.

    python -m benchmarks.features [--quick | --smoke] [--json FILE]

A compiled step is timed whole, as Triton's Python backend calls it: reading the request's tensors, strings as bytes, the
checks, padding and the graph; `graph` is the graph alone. NVTabular is given a finished DataFrame and timed in its
transform alone. Everything runs on one thread, in rounds that take turns; a speedup is the ratio of processor times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.own_process import output_of

if TYPE_CHECKING:
    from benchmarks.features.cases import Case
    from benchmarks.support.measuring import Timed

BATCHES = (1, 16, 64)
VOCABULARIES = {
    "5k_str": ("one column, 5 thousand strings", 5_000),
    "1m_str": ("one column, 1 million strings", 1_000_000),
    "5m_int": ("one column, 5 million integers", 5_000_000),
}
#: The vocabularies of `--smoke`.
SMOKE = ("5k_str",)
TARGETS = {
    "speedup_b1": (">=", 300),
    "speedup_b64": (">=", 100),
    "speedup_b1_vocab_1m_str": (">=", 1000),
    "compiled_us_b1": ("<=", 150),
}
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "ARROW_NUM_THREADS")


def main() -> int:
    """Run the benchmark. Returns 0, also where a target is missed: the table says so."""
    arguments = _arguments()
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # before the libraries that read them are imported
    # NVTabular warns on every use that it runs on a CPU, and that TensorFlow is not installed.
    warnings.filterwarnings("ignore", category=UserWarning, module="merlin|nvtabular")
    from rich.console import Console
    from rich.progress import Progress

    from benchmarks.support.measuring import commit, machine

    rounds, round_s = of_extent(arguments, full=(9, 0.25), quick=(3, 0.05), smoke=(1, 0.01))
    vocabularies = {name: VOCABULARIES[name] for name in (SMOKE if arguments.smoke else VOCABULARIES)}
    report: dict[str, Any] = {"metrics": {}, "spread": {}, "rounds": rounds, "commit": commit()}
    report["machine"] = machine(["nvtabular", "pandas", "numpy", "onnxruntime", "onnx"])
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        task = progress.add_task("", total=4 * (1 + len(vocabularies)))
        for number, make in enumerate(_cases(vocabularies, 3_000 if arguments.smoke else None)):
            case = make(Path(folder) / str(number))
            progress.update(task, advance=1, description=case.title)
            _memory(case, report, Path(folder))
            for batch in BATCHES:
                _times(case, batch, rounds, round_s, report)
                progress.update(task, advance=1)
    report["machine"]["load_1m_at_the_end"] = machine([])["load_1m"]
    _print(report, vocabularies)
    write_figures(report, arguments.json)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="three short rounds: under two minutes")
    return parser.parse_args()


def _cases(vocabularies: Mapping[str, tuple[str, int]], demo_sessions: int | None) -> list[Any]:
    import numpy as np
    import pandas as pd

    from benchmarks.features.cases import demo, vocabulary

    def ids(suffix: str, size: int) -> pd.Series:
        if suffix.endswith("str"):
            return pd.Series([f"item-{number:08d}" for number in range(size)])
        # Ids far apart, as a hash or a snowflake id makes them: no dense table can hold them.
        return pd.Series(np.random.default_rng(0).permutation(size) * 1_000_003)

    def make(suffix: str) -> Any:
        title, size = vocabularies[suffix]
        return lambda folder: vocabulary(folder, suffix, title, ids(suffix, size))

    return [partial(demo, sessions_at_most=demo_sessions), *(make(suffix) for suffix in vocabularies)]


def _times(case: Case, batch: int, rounds: int, round_s: float, report: dict[str, Any]) -> None:
    from benchmarks.support.measuring import in_rounds

    ways = case.ways(batch, requests=8 if batch == 1 else 2)
    timed = in_rounds(ways, rounds=rounds, round_s=round_s, progress=lambda: None)
    for name, found in timed.items():
        _record(report, f"{name}_us_b{batch}{case.suffix}", found.us, 1, found.spread)
        _record(report, f"{name}_busy_us_b{batch}{case.suffix}", statistics.median(found.busy), 1)
    served: Timed = timed["compiled" if case.served == "onnx" else "numpy"]
    for name, other in (("speedup", "nvtabular"), ("speedup_dataset", "nvtabular_dataset")):
        _record(report, f"{name}_b{batch}{case.suffix}", served.times_faster_than(timed[other]), 0)


def _memory(case: Case, report: dict[str, Any], folder: Path) -> None:
    """Opens each backend in a process of its own."""
    request = folder / "request.json"
    request.write_text(case.request_json(), encoding="utf-8")
    for backend, step in case.steps.items():
        found = json.loads(output_of("benchmarks.features.open_step", step, request))
        of = "" if backend == case.served else f"_{backend}"
        _record(report, f"load{of}_s{case.suffix}", found["load_s"], 3)
        for name in ("rss", "import_rss", "peak_rss"):
            _record(report, f"{name}{of}_mb{case.suffix}", found[f"{name}_mb"], 0)


def _record(report: dict[str, Any], name: str, value: float, digits: int, spread: float | None = None) -> None:
    report["metrics"][name] = round(value, digits) if digits else round(value)
    if spread is not None:
        report["spread"][name] = round(spread, 2)


def _print(report: dict[str, Any], vocabularies: Mapping[str, tuple[str, int]]) -> None:
    from rich.console import Console

    from benchmarks.features.table import markdown

    Console().print(markdown(report, BATCHES, vocabularies, TARGETS), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
