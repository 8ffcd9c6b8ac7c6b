"""A server that somebody else runs and these tests ask.

    python -m serving_tests.support.made --into FOLDER repository/shop repository/shop_fused repository/warehouse

makes what that server is to serve, in FOLDER/repository. Then

    NEXTITEM_SERVED='{"folder": "…", "http_url": "http://…", "grpc_url": "grpc://…", "metrics_url": "http://…/metrics"}' \\
        python -m pytest serving_tests

runs the tests that need nothing of the server but these URLs, for the bundles that are there.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from serving_tests.support.made.cache import Made


@dataclasses.dataclass(frozen=True)
class Served:
    """A server that runs already. The URLs reach it; `made` holds what it was made from."""

    made: Made
    http_url: str
    grpc_url: str
    metrics_url: str

    @property
    def repository(self) -> Path:
        """What the server serves, as this machine sees it."""
        return self.made.folder / "repository"

    def serves(self, model: str) -> bool:
        """Whether it has this bundle."""
        return (self.repository / model / "config.pbtxt").exists()


def given() -> Served | None:
    """The server that NEXTITEM_SERVED names, if it does."""
    named = os.environ.get("NEXTITEM_SERVED")
    if not named:
        return None
    told = json.loads(named)
    made = Made(Path(told["folder"]), complete=True)
    return Served(made, told["http_url"], told["grpc_url"], told["metrics_url"])
