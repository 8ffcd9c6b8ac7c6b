"""Opens the step of a folder in a process of its own, answers one request, and says what that took as JSON.

    python -m benchmarks.features.open_step FOLDER REQUEST.json

`import_rss_mb` is held before the step is opened, by the interpreter, numpy and ONNX Runtime.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401  counted as part of the process, not of the step

from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.wire import NUMPY_DTYPES


def main() -> None:
    """Measure and print."""
    folder, request = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    signature = json.loads((folder / "step.json").read_text(encoding="utf-8"))["signature"]
    tensors = {
        feature["name"]: _tensor(request[feature["name"]], feature["datatype"]) for feature in signature["features"]
    }
    imported = _rss_mb()
    started = time.perf_counter()
    step = open_step(folder)
    step.run(tensors)
    taken = time.perf_counter() - started
    print(json.dumps({"load_s": taken, "rss_mb": _rss_mb(), "import_rss_mb": imported, "peak_rss_mb": _peak_rss_mb()}))


def _tensor(values: list, datatype: str) -> np.ndarray:
    if datatype != "BYTES":
        return np.array(values, dtype=NUMPY_DTYPES[datatype])
    tensor = np.empty((len(values), len(values[0])), dtype=object)
    for row, session in enumerate(values):
        tensor[row] = [value.encode() for value in session]
    return tensor


def _peak_rss_mb() -> float:
    # Not getrusage, which counts in what the process was before it became this one.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
