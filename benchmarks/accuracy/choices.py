"""One choice after the other on one data set: bodies, pre-training, losses, windows; the figures behind docs/choosing.md.

    python -m benchmarks.accuracy.choices --dataset diginetica|beauty|eshop --data FOLDER [--choices NAME ...] [--seed N]
                                          [--json FILE] [--quick | --smoke]

Each choice changes a few settings of the data set's configuration in benchmarks/accuracy/ and is trained and asked on the
validation part, as `python -m benchmarks.accuracy --validation` does; its figures go to benchmarks/results/accuracy-tried.json.
What is done is not done again. --smoke tries one choice.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.accuracy.__main__ import CACHE, CONFIGURATIONS
from benchmarks.accuracy.__main__ import main as measure
from benchmarks.accuracy.protocols import DATA_SETS
from benchmarks.accuracy.training import with_settings
from benchmarks.support.command_line import add_options, of_extent
from benchmarks.support.own_process import ROOT

Settings = dict[str, dict[str, Any]]


def _body(body: str, pretraining: str) -> Settings:
    return {"model": {"body": body, "pretraining": pretraining}}


def _loss(**settings: Any) -> Settings:
    return {"loss": settings}


#: What is changed, by name: the settings by table.
CHOICES: dict[str, Settings] = {
    "base": {},
    "gru4rec": _body("gru4rec", "clm"),
    "sasrec": _body("sasrec", "clm"),
    "gpt2": _body("gpt2", "clm"),
    "bert4rec": _body("bert4rec", "mlm"),
    "bert-rtd": _body("bert", "rtd"),
    "xlnet-clm": _body("xlnet", "clm"),
    "xlnet-mlm": _body("xlnet", "mlm"),
    "xlnet-plm": _body("xlnet", "plm"),
    "xlnet-rtd": _body("xlnet", "rtd"),
    "products": {"model": {"normalize": False, "temperature": 1.0}},
    "item-bias": {"model": {"item_bias": True}},
    "sampled-uniform": _loss(kind="sampled-softmax", sampling="uniform", negatives=512),
    "sampled-popular": _loss(kind="sampled-softmax", sampling="popularity", negatives=512),
    "sampled-in-batch": _loss(kind="sampled-softmax", sampling="in-batch", negatives=4096),
    "gbce": _loss(kind="gbce", negatives=64),
    "gbce-products": _loss(kind="gbce", negatives=64) | {"model": {"normalize": False, "temperature": 1.0}},
    "smoothing": _loss(label_smoothing=0.1),
    "window-3": {"data": {"window": 3}},
    "window-10": {"data": {"window": 10}},
    "window-20": {"data": {"window": 20}},
    "window-50": {"data": {"window": 50}},
    "swap-noise": {"inputs": {"swap_noise": 0.1}},
}


#: The choice of `--smoke`.
SMOKE = "window-10"


def configuration(data_set: str, choice: str) -> str:
    """The TOML of a choice on a data set."""
    text = (CONFIGURATIONS / f"{data_set}.toml").read_text(encoding="utf-8")
    for table, settings in CHOICES[choice].items():
        text = with_settings(text, table, settings)
    return text


def main() -> int:
    """Write each choice's configuration, and have them measured. Returns the command's exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--dataset", default="eshop", choices=list(DATA_SETS))
    parser.add_argument(
        "--data", type=Path, default=ROOT / "demo", metavar="FOLDER", help="the data set's (eshop: demo/)"
    )
    parser.add_argument("--choices", nargs="+", choices=list(CHOICES), metavar="NAME", help=f"of {', '.join(CHOICES)}")
    parser.add_argument("--seed", type=int, default=42, metavar="N")
    add_options(parser, quick="little data and one epoch: whether it works, not how well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) if options.smoke else CACHE / "choices" / options.dataset
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{name}.toml" for name in options.choices or ([SMOKE] if options.smoke else CHOICES)]
        for file in files:
            file.write_text(configuration(options.dataset, file.stem), encoding="utf-8")
        given = ["--dataset", options.dataset, "--data", str(options.data), "--seed", str(options.seed)]
        given += of_extent(options, full=[], quick=["--quick"], smoke=["--smoke"])
        given += ["--json", str(options.json)] if options.json else []
        return measure([*given, "--validation", "--config", *map(str, files)])


if __name__ == "__main__":
    sys.exit(main())
