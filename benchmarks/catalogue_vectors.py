"""Trained vectors for `catalogue.py`: trains on Diginetica through nextitem-train, keeps the items' and the sessions' vectors.

    python benchmarks/catalogue_vectors.py --diginetica FOLDER [--output FILE]

FOLDER holds SR-GNN's split, `train_sessions.txt.xz` and `test_sessions.txt.xz`: one session a line, item ids in click order. It
is not part of this project. Twenty minutes on two cores, if GLIBC_TUNABLES=glibc.malloc.hugetlb=1 and MALLOC_MMAP_MAX_=0 spare
the kernel from clearing pages for each step's logits; several times that without.
"""

from __future__ import annotations

import argparse
import lzma
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).with_name(".cache")
VECTORS = CACHE / "diginetica.npz"

#: A session every half minute: the files have an order and no times.
_SESSION_S = 30
_CONFIG = """
[data]
window = 20
holdout_days = {holdout_days}
[model]
body = "sasrec"
pretraining = "clm"
d_model = 64
layers = 2
heads = 2
normalize = true
temperature = 0.07
layer_norm_eps = 1e-6
initializer_range = 0.05
[training]
epochs = 3
batch_size = 256
learning_rate = 2e-3
"""


def main() -> int:
    """Train where there is no run yet, and write the vectors. Returns the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--diginetica", type=Path, required=True, metavar="FOLDER", help="SR-GNN's split")
    parser.add_argument("--run", type=Path, default=CACHE / "diginetica", metavar="DIR", help="where the run is kept")
    parser.add_argument("--output", type=Path, default=VECTORS, metavar="FILE")
    arguments = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    if not arguments.run.exists():
        data, config = _data(arguments.diginetica)
        command = Path(sys.executable).with_name("nextitem-train")
        given = ["--data", str(data), "--config", str(config), "--output", str(arguments.run)]
        done = subprocess.run([str(command), *given], check=False)
        if done.returncode:
            return done.returncode
    _write(arguments.run, arguments.output)
    return 0


def _data(folder: Path) -> tuple[Path, Path]:
    """The interactions as Parquet, the test sessions newest, and the configuration that holds these out."""
    import numpy as np
    import pandas as pd

    sessions = [
        [line.split() for line in lzma.decompress((folder / f"{part}_sessions.txt.xz").read_bytes()).splitlines()]
        for part in ("train", "test")
    ]
    lengths = np.array([len(session) for part in sessions for session in part])
    number = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(length) for length in lengths])
    frame = pd.DataFrame(
        {
            "session_id": number,
            "item_id": [item.decode() for part in sessions for session in part for item in session],
            "timestamp": pd.to_datetime(1_450_000_000 + number * _SESSION_S + step, unit="s"),
        }
    )
    frame.to_parquet(CACHE / "diginetica.parquet")
    holdout = (len(sessions[1]) - 0.5) * _SESSION_S / 86_400
    (CACHE / "diginetica.toml").write_text(_CONFIG.format(holdout_days=holdout), encoding="utf-8")
    return CACHE / "diginetica.parquet", CACHE / "diginetica.toml"


def _write(run: Path, output: Path) -> None:
    """`items` float32 [V, D] without the special codes, and `queries` float32 [S, D] of the run's held-out sample."""
    import numpy as np
    import torch

    from nextitem_training.interactions import conform
    from nextitem_training.run_directory import RunDirectory
    from nextitem_training.workflow import encode

    opened = RunDirectory.open(run)
    model, schema = opened.load_model(), opened.schema
    sample = opened.sample()
    rows = conform(sample, schema.raw_dtypes)
    rows[schema.session_column] = sample[schema.session_column].to_numpy()
    rows[schema.tie_breaker_column] = range(len(rows))
    encoded = encode(opened.load_workflow(), rows, schema)
    queries = []
    with torch.no_grad():
        for start, end in zip(encoded.offsets, encoded.offsets[1:], strict=False):
            # The last interaction is what is to be predicted.
            codes = encoded.features[schema.item_feature][start : max(start + 1, end - 1)]
            queries.append(model.query({schema.item_feature: torch.from_numpy(codes[None].copy())})[0].numpy())
        items = model.item_table()[3:].numpy()
    np.savez(output, items=items, queries=np.stack(queries))
    print(f"{len(items):,} items and {len(queries)} sessions are in {output}")


if __name__ == "__main__":
    sys.exit(main())
