"""How well are items recommended that training never saw, and what does it cost to add them?

    python -m benchmarks.cold_items [--quick | --smoke] [--json FILE]

A fifth of the items is hidden from training, nextitem-catalogue adds it to the exported bundle, and held-out sessions ask:
those whose next item is hidden, and all others. Beside it stand a model that was trained on everything, one of ids alone whose
new items start from their group's mean, popularity, and the items of nearest content. All are asked the same. At the end the
time and memory of an update of a large catalogue.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.cold_items.baselines import nearest_content, popularity
from benchmarks.cold_items.million import Large, update_of_a_large_catalogue
from benchmarks.cold_items.questions import Questions, bundle_ranks, figures_of, questions_of, score_ranks
from benchmarks.cold_items.shops import ITEM, TIME, Shop, demo_shop, text_shop
from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.measuring import commit, machine
from benchmarks.support.own_process import run_quietly

HIDDEN = 0.2
COLD_OVER_RETRAINED, WARM_OVER_PLAIN = "cold_recall20_over_retrained", "warm_recall20_over_plain"
#: What is asked, in the order of the table, and what it is called there.
WAYS = {
    "added": "added by nextitem-catalogue",
    "retrained": "trained on everything",
    "plain": "ids alone, without the hidden items",
    "group_mean": "ids alone, new items from their group's mean",
    "nearest": "nearest content",
    "popular": "popularity",
}


@dataclasses.dataclass(frozen=True)
class Size:
    """What is measured.

    seeds: of the hidden items and of training. epochs: of each training. share: of the demo's sessions, one in so many.
    text_items, text_sessions: of the synthetic shop. questions: at most. large: the catalogues that are updated, by the names
    of their figures.
    """

    seeds: tuple[int, ...]
    epochs: int
    share: int
    text_items: int
    text_sessions: int
    questions: int
    large: Mapping[str, Large]


FULL = Size(
    (0, 1, 2), 15, 1, 2_000, 24_000, 12_000, {"1m": Large(1_000_000, 1_000), "1m_ann": Large(1_000_000, 1_000, "ann")}
)
QUICK = Size((0,), 6, 2, 1_000, 8_000, 4_000, {"1m": Large(1_000_000, 1_000)})
SMOKE = Size((0,), 1, 25, 60, 400, 200, {"1m": Large(2_000, 20)})
TARGETS = {COLD_OVER_RETRAINED: 0.85, WARM_OVER_PLAIN: 0.97}
UPDATE_S, UPDATE_MB = 20.0, 2_048.0


def main() -> int:
    """Measure; returns 0 where the targets are met, and for less than a whole run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="one seed, fewer epochs and sessions: some ten minutes")
    parser.add_argument(
        "--hidden", type=float, default=HIDDEN, metavar="SHARE", help="of the items (default: %(default)s)"
    )
    arguments = parser.parse_args()
    size = of_extent(arguments, full=FULL, quick=QUICK, smoke=SMOKE)
    metrics: dict[str, float] = {}
    for shop in (demo_shop(size.share), text_shop(size.text_items, size.text_sessions)):
        found = [_of_seed(shop, size, seed, arguments.hidden) for seed in size.seeds]
        _show(shop, found)
        metrics |= _means(shop, found)
    for name in (COLD_OVER_RETRAINED, WARM_OVER_PLAIN):
        metrics[name] = metrics[f"demo.{name}"]
    for name, large in size.large.items():
        with tempfile.TemporaryDirectory() as folder:
            took = update_of_a_large_catalogue(large, Path(folder))
        metrics |= {f"update_{name}_s": took["update_s"], f"update_{name}_mb": took["update_mb"]}
        print(
            f"{large.new:,} items into {large.items:,}, {large.scoring}: {took['update_s']:.1f} s, {took['update_mb']:,.0f} MB"
        )
    report = {
        "metrics": metrics, "hidden": arguments.hidden, "seeds": list(size.seeds),
        "machine": machine(["torch", "nvtabular", "onnxruntime"]), "commit": commit(),
    }  # fmt: skip
    write_figures(report, arguments.json)
    met = all(metrics[name] >= least for name, least in TARGETS.items())
    met &= metrics["update_1m_s"] <= UPDATE_S and metrics["update_1m_mb"] <= UPDATE_MB
    return 0 if met or size is not FULL else 1


def _of_seed(shop: Shop, size: Size, seed: int, share: float) -> dict[str, dict[str, float]]:
    """The figures of each way."""
    hidden = shop.hidden(share, seed)
    questions = questions_of(shop, hidden, size.questions)
    clicks = shop.without(hidden)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shop.items.to_parquet(folder / "items.parquet")
        shop.items[~shop.items[ITEM].isin([*hidden])].to_parquet(folder / "known.parquet")
        clicks.to_parquet(folder / "part.parquet")
        shop.clicks.to_parquet(folder / "all.parquet")
        made = _Made(folder, shop, size.epochs, seed)
        ranks = {
            "retrained": made.bundle("retrained", "all", "items").asked(questions),
            "plain": made.bundle("plain", "part", None).asked(questions),
            "group_mean": made.bundle("group_mean", "part", None).updated("--group", shop.group).asked(questions),
            "added": made.bundle("added", "part", "known").updated().asked(questions),
        }
    training = clicks.loc[(clicks[TIME] <= shop.cutoff).to_numpy()]
    ids = shop.items[ITEM].to_numpy()
    ranks["popular"] = score_ranks(ids, popularity(shop, training), questions)
    ranks["nearest"] = score_ranks(ids, nearest_content(shop), questions)
    found = {way: figures_of(ranks[way], questions) for way in WAYS}
    print(
        f"{shop.name}, seed {seed}: " + ", ".join(f"{way} {f['cold_recall20']:.3f}" for way, f in found.items()),
        flush=True,
    )
    return found


@dataclasses.dataclass(frozen=True)
class _Bundle:
    folder: Path
    name: str

    def updated(self, *options: str) -> _Bundle:
        """With all items of the shop, as a shop adds them."""
        command = [sys.executable, "-m", "nextitem_export.catalogue.cli", "update", self.folder / "items.parquet"]
        run_quietly([*command, "--repository", self.folder / "repository", "--name", self.name, "--activate", *options])
        return self

    def asked(self, questions: Questions) -> np.ndarray:
        """The ranks of the answers."""
        return bundle_ranks(self.folder / "repository", self.name, questions)


@dataclasses.dataclass(frozen=True)
class _Made:
    """Trains and exports, in a folder with the files of a shop."""

    folder: Path
    shop: Shop
    epochs: int
    seed: int

    def bundle(self, name: str, clicks: str, items: str | None) -> _Bundle:
        """items: the file of the items table, None for a model of ids alone."""
        run = self.folder / f"run-{clicks}-{items}"
        if not run.exists():
            config = self.folder / f"{name}.toml"
            text = self.shop.config(content=items is not None, epochs=self.epochs, seed=self.seed)
            config.write_text(text, encoding="utf-8")
            command = [_command("nextitem-train"), "--data", self.folder / f"{clicks}.parquet", "--config", config]
            command += ["--items", self.folder / f"{items}.parquet"] if items else []
            run_quietly([*command, "--output", run])
        export = [_command("nextitem-export"), "--run", run, "--repository", self.folder / "repository"]
        run_quietly([*export, "--name", name, "--layout", "fused"])
        return _Bundle(self.folder, name)


def _command(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def _means(shop: Shop, found: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Over the seeds: each figure, and the ratios of means."""
    means = {
        f"{way}.{figure}": statistics.mean(one[way][figure] for one in found)
        for way in WAYS
        for figure in found[0][way]
    }
    ratios = {
        COLD_OVER_RETRAINED: _ratio(means["added.cold_recall20"], means["retrained.cold_recall20"]),
        WARM_OVER_PLAIN: _ratio(means["added.warm_recall20"], means["plain.warm_recall20"]),
    }
    return {f"{shop.name}.{name}": value for name, value in {**means, **ratios}.items()}


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0


def _show(shop: Shop, found: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    table = Table(title=f"{shop.name}: {len(shop.items):,} items, means over {len(found)} seeds")
    table.add_column("")
    figures = ("cold_recall20", "cold_ndcg20", "warm_recall20", "warm_ndcg20", "all_recall20")
    for figure in figures:
        table.add_column(figure, justify="right")
    for way, title in WAYS.items():
        table.add_row(title, *(f"{statistics.mean(one[way][figure] for one in found):.4f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
