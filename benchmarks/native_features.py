"""The features step of a native bundle against the Python runtime's: the same requests, in this process, on one thread.

    python benchmarks/native_features.py [--quick | --smoke] [--json FILE]

`python` is the step as Triton's Python backend calls it: checks, padding and filters in numpy, then the workflow's graph.
`native` is the one graph that does all of this, as ONNX Runtime runs it. Strings come as bytes to the former and as str to the
latter, as Python's ONNX Runtime takes them. What Triton's backend adds to either, its copies and its queues, is not in here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from command_line import add_options, of_extent, write_figures

CATALOGUE = 50_000


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request: sessions, whether their items are to be left out, and interactions of each where not the sessions' own."""

    batch: int
    exclude_seen: bool = False
    length: int | None = None


ASKED = {
    "b1": Asked(1),
    "b1_exclude_seen": Asked(1, exclude_seen=True),
    "b1_200_interactions": Asked(1, length=200),
    "b32": Asked(32),
    "b32_exclude_seen": Asked(32, exclude_seen=True),
}


def main() -> int:
    """Run the benchmark. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, quick="three short rounds")
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    warnings.filterwarnings("ignore")
    import pandas as pd

    from feature_cases import demo, vocabulary
    from measuring import commit, in_rounds, machine

    rounds, round_s = of_extent(arguments, full=(9, 0.5), quick=(3, 0.2), smoke=(1, 0.01))
    metrics: dict[str, float] = {}
    spread: dict[str, float] = {}
    ids = pd.Series([f"item-{number:08d}" for number in range(CATALOGUE)])
    with tempfile.TemporaryDirectory() as made:
        cases = (demo(Path(made) / "demo"), vocabulary(Path(made) / "ids", "50k_str", "50 thousand strings", ids))
        for name, case in zip(("demo", "50k_str"), cases, strict=True):
            steps = _steps(case, Path(made) / f"{name}-steps")
            for what, asked in ASKED.items():
                timed = in_rounds(_ways(case, steps, asked), rounds=rounds, round_s=round_s, progress=lambda: None)
                for way, found in timed.items():
                    key = f"{name}.{way}_us_{what}"
                    metrics[key], spread[key] = round(found.us, 1), round(found.spread, 2)
    libraries = ["numpy", "onnxruntime"]
    report = {"metrics": metrics, "spread": spread, "rounds": rounds, "commit": commit(), "machine": machine(libraries)}
    _print(metrics)
    write_figures(report, arguments.json)
    return 0


def _steps(case: Any, folder: Path) -> dict[str, Any]:
    """Both steps of a case, opened."""
    import onnx

    from nextitem_bundle.runtime.item_index import ItemIndex
    from nextitem_bundle.runtime.signature import Signature
    from nextitem_bundle.runtime.step import open_step
    from nextitem_export.graphs.features import write_compiled, write_step
    from nextitem_export.native.features import native_features
    from nextitem_export.plan import REQUEST_OPTIONS
    from nextitem_export.workflow.fitted import FittedWorkflow

    fitted = FittedWorkflow(case.workflow)
    values = fitted.vocabulary(fitted.encoded_outputs_of("item_id")[0]).values
    written = json.loads((case.steps["onnx"] / "step.json").read_text(encoding="utf-8"))
    signature = dataclasses.replace(Signature.from_json(written["signature"]), options=REQUEST_OPTIONS)
    python, native = folder / "python", folder / "native"
    for made in (python, native):
        made.mkdir(parents=True)
    settings = write_compiled(case.compiled, python) | {"kind": "features_compiled"}
    write_step(settings, signature, written["filters"], case.codes, python)
    ItemIndex.of(values).save(python)
    onnx.save(native_features(case.compiled, signature, tuple(written["filters"]), values), native / "model.onnx")
    settings = {"kind": "native", "threads": 1, "batched": False, "signature": signature.to_json()}
    (native / "step.json").write_text(json.dumps(settings), encoding="utf-8")
    return {"python": open_step(python), "native": open_step(native)}


def _ways(case: Any, steps: dict[str, Any], asked: Asked) -> dict[str, list[Any]]:
    import numpy as np

    from nextitem_export.wire import request_tensors

    session = steps["native"].session
    ways: dict[str, list[Any]] = {"python": [], "native": []}
    for number in range(8):
        places = [(number * asked.batch + row) % len(case.sessions) for row in range(asked.batch)]
        chosen = [_stretched(case, place, asked.length) if asked.length else case.sessions[place] for place in places]
        tensors = request_tensors(chosen, case.raw)
        if asked.exclude_seen:
            tensors["exclude_seen"] = np.ones((asked.batch, 1), dtype=bool)
        due, found = (step.run(tensors) for step in steps.values())
        assert all(  # a wrong answer's time says nothing
            np.array_equal(values, found[name]) for name, values in due.items() if not name.startswith("excluded")
        )
        texts = {name: _texts(values) for name, values in tensors.items()}
        ways["python"].append(lambda tensors=tensors: steps["python"].run(tensors))
        ways["native"].append(lambda texts=texts: session.run(None, texts))
    return ways


def _stretched(case: Any, place: int, length: int) -> Any:
    """The interactions of this session and the next ones, in the order of time."""
    import numpy as np
    import pandas as pd

    rows = pd.concat(list(np.roll(np.array([*case.sessions, None], dtype=object)[:-1], -place))[:length])
    return rows.iloc[:length].sort_values("timestamp", kind="stable").reset_index(drop=True)


def _texts(values: Any) -> Any:
    import numpy as np

    if values.dtype != object:
        return values
    return np.array([*(value.decode() for value in values.ravel()), None], dtype=object)[:-1].reshape(values.shape)


def _print(metrics: dict[str, float]) -> None:
    print("| request | python, µs | native, µs |")
    print("| --- | ---: | ---: |")
    for key, value in metrics.items():
        if ".python_us_" in key:
            print(f"| {key.replace('.python_us_', ', ')} | {value} | {metrics[key.replace('.python_', '.native_')]} |")


if __name__ == "__main__":
    sys.exit(main())
