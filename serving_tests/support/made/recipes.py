"""All that is trained and exported for the tests with a server."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from serving_tests.support.bundles import copied
from serving_tests.support.made import heads_shop, heads_trained_shop, item_codes_shop, raw_shop, shop, warehouse
from serving_tests.support.made.jobs import Job, command, program

#: Bundles by the repository in which they are and their names: the run that they are of, and the options of their exports.
EXPORTS: dict[str, dict[str, tuple[str, tuple[object, ...]]]] = {
    "repository": {
        **{name: ("shop", ("--max-top-k", shop.MAX_TOP_K, *options)) for name, options in shop.BUNDLES.items()},
        warehouse.NAME: ("warehouse", ("--max-top-k", warehouse.MAX_TOP_K)),
    },
    # A queue that is full at once, one that nobody may wait in for long, and the defaults.
    "overload": {
        "narrow": ("shop", ("--layout", "fused", "--instances", 1, "--max-queue-size", 2)),
        "hurried": ("shop", ("--layout", "fused", "--instances", 1, "--queue-timeout-ms", 5)),
        "whole": ("shop", ("--layout", "fused")),
        "shop": ("shop", ()),
    },
    "native": {name: ("shop", ("--max-top-k", shop.MAX_TOP_K, *options)) for name, options in shop.NATIVE.items()},
    "raw": {"steps": ("raw", ()), "fused": ("raw", ("--layout", "fused"))},
    "raw_native": {"native": ("raw", ("--runtime", "native"))},
    "heads_trained_item": {"shop": ("heads_trained_item", ("--layout", "fused"))},
    "heads_trained_input": {"shop": ("heads_trained_input", ())},
}
#: Bundles of `repository` that have a version 2 in `updated`, of other weights.
UPDATED = ("shop", "shop_fused")
#: What the long tests alone ask.
SLOW = ("runs/heads_trained_input", "heads_trained_input")
ANY_MODEL = shop.ROOT / "docs" / "any-model.md"


def jobs() -> dict[str, Job]:
    """Every recipe by its name, what takes longest first."""
    trainings = [
        Job("runs/shop", shop.train),
        Job("runs/warehouse", warehouse.train),
        Job("runs/raw", raw_shop.train),
        Job("runs/heads_trained_item", partial(heads_trained_shop.train, way="item")),
        Job("runs/heads_trained_input", partial(heads_trained_shop.train, way="input")),
        Job("runs/other", _other_weights, needs=("runs/shop",)),
    ]
    programs = [
        Job("heads", heads_shop.make),
        Job("item_codes", item_codes_shop.make),
        Job("any_model", _any_model),
    ]
    exports = [
        Job(f"{repository}/{name}", partial(_export, run, repository, name, options), needs=(f"runs/{run}",))
        for repository, bundles in EXPORTS.items()
        for name, (run, options) in bundles.items()
    ]
    updates = [
        Job(f"updated/{name}", partial(_update, name), needs=(f"repository/{name}", "runs/other")) for name in UPDATED
    ]
    return {job.name: job for job in (*trainings, *programs, *exports, *updates)}


def daily() -> list[str]:
    """The names of all but the slow ones."""
    return [name for name in jobs() if name not in SLOW and name.split("/")[0] not in SLOW]


def _export(run: str, repository: str, name: str, options: tuple[object, ...], folder: Path) -> None:
    command(
        "nextitem-export", "--run", folder / "runs" / run / "run", "--repository", folder / repository, "--name", name,
        *options,
    )  # fmt: skip


def _other_weights(folder: Path) -> None:
    """The shop's run with other weights, as a training with another seed would leave it."""
    other = folder / "runs" / "other" / "run"
    shutil.copytree(folder / "runs" / "shop" / "run", other)
    random = np.random.default_rng(7)
    weights = load_file(other / "model.safetensors")
    changed = {name: (w + random.normal(0, 0.3, w.shape)).astype(w.dtype) for name, w in weights.items()}
    save_file(changed, other / "model.safetensors")


def _update(name: str, folder: Path) -> None:
    """A second version beside the first, which answers until the other is activated."""
    copied(folder / "repository" / name, folder / "updated")
    _, options = EXPORTS["repository"][name]
    _export("other", "updated", name, options, folder)


def _any_model(folder: Path) -> None:
    """The code of docs/any-model.md, run in a folder that has the demo's clicks."""
    (folder / "any_model").mkdir()
    (folder / "any_model" / "demo").symlink_to(shop.ROOT / "demo")
    code = "\n".join(re.findall(r"```python\n(.*?)```", ANY_MODEL.read_text(encoding="utf-8"), re.DOTALL))
    program(code, folder / "any_model")
