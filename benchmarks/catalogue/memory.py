"""Opens one retrieval step in a process of its own, answers once, and prints what it holds in MB.

    python -m benchmarks.catalogue.memory STEP WIDTH

`private` is this process's alone, `mapped` what it shares through the page cache with others that serve the same files; both
beyond what the imports hold.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Print the figures as JSON."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy as np

    from nextitem_bundle.runtime.graphs import onnx  # noqa: F401  held whatever the step
    from nextitem_bundle.runtime.retrieval import ann  # noqa: F401  the same
    from nextitem_bundle.runtime.step import open_step

    folder, width = Path(sys.argv[1]), int(sys.argv[2])
    before = held()
    step = open_step(folder)
    none = np.zeros((1, 64), dtype=np.int64)
    query = np.ones((1, width), dtype=np.float32)
    for _ in range(2):
        step.run({"feature__0": none[:, :1] + 3, "feature__1": query, "excluded__2": none, "allowed__3": none})
    after = held()
    print(json.dumps({name: round(after[name] - before[name]) for name in after}))


def held() -> dict[str, float]:
    """MB of this process, from the kernel."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    kb = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    anonymous = kb["Anonymous"]
    return {"private": anonymous / 1024, "mapped": (kb["Rss"] - anonymous) / 1024}


if __name__ == "__main__":
    main()
