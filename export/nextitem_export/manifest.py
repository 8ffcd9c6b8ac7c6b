"""bundle.json: what a bundle was made from, what it answers and what its files are."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .layouts.runtimes import NO_CACHE
from .options import ExportOptions
from .parity.gate import CaseReport
from .plan import Plan
from .runtime.codes import STATUS
from .runtime.ranker import AVAILABILITY
from .triton_config import CONFIG
from .versions import MANIFEST

FORMAT_VERSION = 1

_LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "nvtabular", "numpy", "nextitem-export")


def keep_configurations(build: Path, models: Sequence[str], version: int) -> None:
    """Put each model's configuration beside the files of the version that it comes with, so that it can come back."""
    for model in models:
        shutil.copyfile(build / model / CONFIG, build / model / str(version) / CONFIG)


def write_manifest(
    build: Path,
    models: Sequence[str],
    plan: Plan,
    options: ExportOptions,
    parity: Sequence[CaseReport],
    made_from: Mapping[str, Any],
) -> Path:
    """Write `<name>/<version>/bundle.json` over all files of the built models. Returns its path."""
    name, version = models[-1], plan.signature.bundle_version
    item_type = "BYTES" if plan.vocabulary.values.dtype == object else "INT64"
    document = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "version": version,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "made_from": dict(made_from),
        "layout": options.layout,
        "format": options.format,
        "runtime": options.runtime,
        "features": options.features,
        # The one exception to "data only": `--features nvtabular` unpickles the workflow at load.
        "holds_pickle": options.features == "nvtabular",
        "models": list(models),
        "availability_given": options.availability is not None,
        "request": plan.signature.to_json(),
        "response": {
            "item_ids": {"datatype": item_type, "shape": ["B", "K"]},
            "scores": {"datatype": "FP32", "shape": ["B", "K"]},
            "status": {"datatype": "BYTES", "shape": ["B", 1], "values": list(STATUS)},
            **{head.name: {"datatype": "FP32", "shape": ["B", head.width]} for head in plan.signature.heads},
        },
        "catalogue_size": len(plan.vocabulary.values),
        "model_features": [{"name": f.name, "tensor": f.tensor, "dtype": f.dtype} for f in plan.features],
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "parity": [report.to_json() for report in parity],
        "sha256": {
            str(path.relative_to(build)): hashlib.sha256(path.read_bytes()).hexdigest()
            for model in models
            for path in sorted((build / model).rglob("*"))
            if path.is_file()
            and path.name not in (AVAILABILITY, NO_CACHE)  # operators change the one, copying may lose the other
        },
    }
    path = build / name / str(version) / MANIFEST
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
