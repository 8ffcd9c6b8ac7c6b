"""What a version of a bundle in a repository answers, by its own steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.signature import Signature
from nextitem_export.wire import request_tensors


class Served:
    """Asks the steps of a version one after the other, or the one model that they are."""

    def __init__(self, repository: Path, name: str, version: int) -> None:
        manifest = read_manifest(repository, name, version)
        self.signature = Signature.from_json(manifest.request)
        *steps, whole = manifest.models
        self._steps = [open_step(repository / model / str(version)) for model in (steps or [whole])]

    def ask(self, sessions: Sequence[pd.DataFrame], k: int = 10, **options: np.ndarray) -> dict[str, np.ndarray]:
        """item_ids and scores [B, K], status [B, 1]."""
        top_k = np.full((len(sessions), 1), k, dtype=np.int32)
        return self.run({**request_tensors(sessions, self.signature.features), "top_k": top_k, **options})

    def run(self, request: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The answer to a request's tensors."""
        if len(self._steps) == 1:
            return dict(self._steps[0].run(request))
        features, retrieval, items = self._steps
        encoded = features.run(request)
        ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
        return dict(items.run(dict(zip(items.inputs, [*ranked.values(), encoded["top_k_checked"]], strict=False))))
