"""Trained vectors for the catalogues: trains on Diginetica through nextitem-train, keeps the items' and the sessions' vectors.

    python -m benchmarks.catalogue.vectors --diginetica FOLDER [--output FILE]
    python -m benchmarks.catalogue.vectors --smoke [--output FILE]

FOLDER holds SR-GNN's split, `train_sessions.txt.xz` and `test_sessions.txt.xz`: one session a line, item ids in click order. It
is not part of this project. Twenty minutes on two cores, if GLIBC_TUNABLES=glibc.malloc.hugetlb=1 and MALLOC_MMAP_MAX_=0 spare
the kernel from clearing pages for each step's logits; several times that without.
"""

from __future__ import annotations

import argparse
import lzma
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.support.own_process import ROOT

CACHE = ROOT / "benchmarks" / ".cache"
VECTORS = CACHE / "diginetica.npz"
RUN = CACHE / "diginetica"

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
epochs = {epochs}
batch_size = 256
learning_rate = 2e-3
"""


def main() -> int:
    """Train where there is no run yet, and write the vectors. Returns the command's exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--diginetica", type=Path, metavar="FOLDER", help="SR-GNN's split")
    source.add_argument("--smoke", action="store_true", help="train on a few random sessions: does it run at all?")
    parser.add_argument("--run", type=Path, metavar="DIR", help=f"where the run is kept (default: {RUN})")
    parser.add_argument("--output", type=Path, default=VECTORS, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as made:
            _write_random_split(Path(made))
            return _made(Path(made), arguments.run or Path(made) / "run", arguments.output, cache=Path(made), epochs=1)
    CACHE.mkdir(exist_ok=True)
    return _made(arguments.diginetica, arguments.run or RUN, arguments.output, cache=CACHE, epochs=3)


def _made(split: Path, run: Path, output: Path, *, cache: Path, epochs: int) -> int:
    """Train where there is no run, and write its vectors. Returns nextitem-train's exit code where it fails, else 0."""
    if not run.exists():
        data, config = _data(split, cache, epochs)
        command = Path(sys.executable).with_name("nextitem-train")
        done = subprocess.run([command, "--data", data, "--config", config, "--output", run], check=False)
        if done.returncode:
            return done.returncode
    _write(run, output)
    return 0


def _write_random_split(folder: Path) -> None:
    """Two files of the split's format: sessions of 2 to 6 of 2,000 items, every item in the first."""
    import numpy as np

    random = np.random.default_rng(0)
    items = np.concatenate([random.permutation(2_000), random.integers(0, 2_000, 400)])
    sessions = np.split(items, np.cumsum(random.integers(2, 7, len(items) // 4))[:-1])
    lines = [" ".join(map(str, session)) for session in sessions if len(session) >= 2]
    for part, chosen in (("train", lines[:-90]), ("test", lines[-90:])):
        (folder / f"{part}_sessions.txt.xz").write_bytes(lzma.compress("\n".join(chosen).encode()))


def _data(folder: Path, cache: Path, epochs: int) -> tuple[Path, Path]:
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
    data, config = cache / "diginetica.parquet", cache / "diginetica.toml"
    frame.to_parquet(data)
    holdout = (len(sessions[1]) - 0.5) * _SESSION_S / 86_400
    config.write_text(_CONFIG.format(holdout_days=holdout, epochs=epochs), encoding="utf-8")
    return data, config


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
