"""The runs and bundles that these tests ask: made by the fixtures, or beforehand for a server that somebody else runs.

    python serving_tests/served.py FOLDER [BUNDLE …]

trains and exports them into FOLDER: shop/, warehouse/ and repository/, which that server is to serve. Then

    NEXTITEM_SERVED='{"folder": "…", "http_url": "http://…", "grpc_url": "grpc://…", "metrics_url": "http://…/metrics"}' \\
        python -m pytest serving_tests

runs the tests that need nothing of the server but these URLs, for the bundles that are there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

import warehouse
from shop import BUNDLES, CONFIG, MAX_TOP_K, ROOT, succeed, trained


@dataclasses.dataclass(frozen=True)
class Served:
    """A server that runs already. The URLs reach it; `folder` holds what it was made from."""

    folder: Path
    http_url: str
    grpc_url: str
    metrics_url: str

    @property
    def repository(self) -> Path:
        """What the server serves, as this machine sees it."""
        return self.folder / "repository"

    def serves(self, model: str) -> bool:
        """Whether it has this bundle."""
        return (self.repository / model / "config.pbtxt").exists()


def given() -> Served | None:
    """The server that NEXTITEM_SERVED names, if it does."""
    named = os.environ.get("NEXTITEM_SERVED")
    if not named:
        return None
    told = json.loads(named)
    return Served(Path(told["folder"]), told["http_url"], told["grpc_url"], told["metrics_url"])


def clicks() -> pd.DataFrame:
    """The demo's clicks of some weeks."""
    frame = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    return frame[frame.timestamp >= "2008-06-25"].reset_index(drop=True)


def export_shop(run: Path, repository: Path, names: Iterable[str]) -> None:
    """Bundles of the shop, by the command; two at a time, as one waits much for its imports."""

    def export(name: str) -> None:
        succeed(
            "nextitem-export", "--run", run, "--repository", repository, "--name", name, "--max-top-k", MAX_TOP_K,
            *BUNDLES[name],
        )  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(export, names))


def export_warehouse(run: Path, repository: Path) -> None:
    """The warehouse's bundle."""
    succeed(
        "nextitem-export", "--run", run, "--repository", repository, "--name", warehouse.NAME,
        "--max-top-k", warehouse.MAX_TOP_K,
    )  # fmt: skip


def main(folder: Path, names: Sequence[str]) -> None:
    """Make everything."""
    for part in ("shop", "warehouse"):
        (folder / part).mkdir(parents=True)
    export_shop(trained(clicks(), CONFIG, folder / "shop"), folder / "repository", names)
    export_warehouse(trained(warehouse.interactions(), warehouse.CONFIG, folder / "warehouse"), folder / "repository")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(BUNDLES))
