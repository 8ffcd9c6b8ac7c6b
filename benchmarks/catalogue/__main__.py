"""Large catalogues: retrieval as it is served, exactly, by int8 and through an index, against plain ONNX Runtime and torch.

    python -m benchmarks.catalogue [--quick | --smoke] [--vectors FILE] [--json FILE]

Each size is exported by our own exporter with a session model that costs nothing, filters included, and asked with a batch of 1
and of 32 sessions for 100 items. `ort` is a Gemm and a TopK, `torch` a product and topk, `read` one pass over the table, which
says what the memory gives. One thread, in rounds that take turns; times are processor times, which other work disturbs least.
Vectors come from `vectors.py` beside this file; without them they are random and nothing is said of recall or of the index.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue.vectors import CACHE, VECTORS
from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.own_process import output_of

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.catalogue.cases import Catalogue

SIZES = {"2k": 2_000, "50k": 50_000, "500k": 500_000, "1m": 1_000_000, "5m": 5_000_000}
SMOKE, QUICK, FULL = ("2k",), ("50k", "500k", "1m"), ("50k", "500k", "1m", "5m")
BATCHES = (1, 32)
WIDTH = 64
TARGETS = {
    "int8_1m.speedup": (">=", 3.0),
    "int8_1m.recall20": (">=", 0.999),
    "ann_1m.recall20": (">=", 0.99),
    "exact_1m.over_bandwidth": ("<=", 1.5),
}
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run the benchmark. Returns 0, also where a target is missed: the table says so."""
    arguments = _arguments()
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # before the libraries that read them are imported
    import torch
    from rich.console import Console

    from benchmarks.catalogue.table import markdown
    from benchmarks.support.measuring import commit, machine

    torch.set_num_threads(1)
    console = Console(stderr=True)
    rounds, round_s = of_extent(arguments, full=(7, 0.4), quick=(3, 0.1), smoke=(1, 0.01))
    report: dict[str, Any] = {"metrics": {}, "spread": {}, "rounds": rounds, "commit": commit()}
    report["machine"] = machine(["onnxruntime", "torch", "faiss-cpu", "numpy"])
    items, queries, trained = _vectors(arguments.vectors)
    report["trained"] = trained
    with tempfile.TemporaryDirectory() as made:
        cache = Path(made) if arguments.smoke else CACHE
        for size in arguments.sizes or of_extent(arguments, full=FULL, quick=QUICK, smoke=SMOKE):
            console.print(f"{size}: making the catalogue")
            folder = cache / f"catalogue_{size}{'' if trained else '_random'}"
            catalogue = _catalogue(items, queries, SIZES[size], folder)
            without_index = not trained or size in arguments.without_index
            _one_size(catalogue, size, trained, without_index, round_s, report, console)
            write_figures(report, arguments.json)
    report["machine"]["load_1m_at_the_end"] = machine([])["load_1m"]
    write_figures(report, arguments.json)
    Console().print(markdown(report, SIZES, TARGETS), highlight=False, soft_wrap=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="three short rounds, to a million items")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, metavar="SIZE", help=f"some of {', '.join(SIZES)}")
    parser.add_argument("--without-index", nargs="*", default=[], choices=SIZES, metavar="SIZE", help="of these sizes")
    parser.add_argument("--vectors", type=Path, default=VECTORS, metavar="FILE", help="of benchmarks.catalogue.vectors")
    return parser.parse_args()


def _vectors(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    import numpy as np

    if path.exists():
        found = np.load(path)
        return found["items"], found["queries"], True
    random = np.random.default_rng(0)
    items, queries = (random.standard_normal((n, WIDTH), dtype=np.float32) for n in (SIZES["50k"], 500))
    return items / np.linalg.norm(items, axis=1, keepdims=True), queries, False


def _catalogue(items: np.ndarray, queries: np.ndarray, size: int, folder: Path) -> Catalogue:
    import numpy as np

    from benchmarks.catalogue.cases import Catalogue
    from benchmarks.catalogue.scale import scaled

    return Catalogue(np.concatenate([np.zeros((3, WIDTH), np.float32), scaled(items, size)]), queries, folder)


def _one_size(
    catalogue: Catalogue,
    size: str,
    trained: bool,
    without_index: bool,
    round_s: float,
    report: dict[str, Any],
    console: Any,
) -> None:
    from benchmarks.catalogue.cases import SCORINGS

    true = catalogue.true()
    for name in SCORINGS:
        if name == "ann" and without_index:
            continue
        console.print(f"{size}: exporting {name}")
        catalogue.write(name)
        if name != "exact":
            report["metrics"][f"{name}_{size}.build_s"] = round(catalogue.build_s[name], 1)
        if trained:
            report["metrics"][f"{name}_{size}.recall20"] = round(catalogue.recall(name, true), 5)
    for batch in BATCHES:
        console.print(f"{size}: asking with {batch}")
        _time(catalogue, size, batch, round_s, report)
    folder = catalogue.folder
    catalogue.close()
    gc.collect()
    for name in SCORINGS:
        if (folder / name / "step.json").exists():
            _memory(folder / name, f"{name}_{size}", report)
    _keep_index(folder)


def _time(catalogue: Catalogue, size: str, batch: int, round_s: float, report: dict[str, Any]) -> None:
    from benchmarks.support.measuring import in_rounds

    timed = in_rounds(catalogue.ways(batch), rounds=report["rounds"], round_s=round_s, progress=lambda: None)
    busy = {name: statistics.median(found.busy) / 1e3 for name, found in timed.items()}
    metrics = report["metrics"]
    for name, ms in busy.items():
        metrics[f"{name}_{size}.ms_b{batch}"] = round(ms / batch, 4)
        report["spread"][f"{name}_{size}.ms_b{batch}"] = round(timed[name].spread, 2)
    suffix = "" if batch == 1 else f"_b{batch}"
    for name in timed:
        if name not in ("ort", "read"):
            metrics[f"{name}_{size}.speedup{suffix}"] = round(busy["ort"] / busy[name], 2)
    if batch == 1:
        metrics[f"read_{size}.gb_s"] = round(catalogue.table.nbytes / busy["read"] / 1e6, 1)
        metrics[f"exact_{size}.over_bandwidth"] = round(busy["exact"] / busy["read"], 3)


def _memory(step: Path, prefix: str, report: dict[str, Any]) -> None:
    for name, value in json.loads(output_of("benchmarks.catalogue.memory", step, WIDTH)).items():
        report["metrics"][f"{prefix}.{name}_mb"] = value


def _keep_index(folder: Path) -> None:
    """What takes long to build stays for the next run; tables do not."""
    for path in folder.iterdir():
        if path.name != "ann":
            shutil.rmtree(path)
    for path in (folder / "ann").glob("*.npy"):
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
