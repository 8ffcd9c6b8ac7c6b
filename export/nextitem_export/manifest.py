"""What is written into a bundle's manifest."""

from __future__ import annotations

import datetime
import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nextitem_bundle.checksums import checksums_of
from nextitem_bundle.manifest import CatalogueSummary, Manifest
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.runtime.special_ids import STATUS
from nextitem_bundle.versions import CONFIG, NO_CACHE
from nextitem_bundle.wire import datatype_of

from .options import ExportOptions
from .parity.gate import CaseReport
from .plan import Plan

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
    fell_out: Mapping[str, str],
    catalogue: CatalogueSummary,
) -> Path:
    """Write `<name>/<version>/bundle.json` over all files of the built models. Returns its path.

    fell_out: the formats that were tried before the one of the options, and why each was left. catalogue: what is kept of it.
    """
    files = [
        path
        for model in models
        for path in sorted((build / model).rglob("*"))
        # Operators change the one, copying may lose the other.
        if path.is_file() and path.name not in (AVAILABILITY, NO_CACHE)
    ]
    return Manifest(
        name=models[-1],
        version=plan.signature.bundle_version,
        models=tuple(models),
        sha256=checksums_of(build, files),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        made_from=dict(made_from),
        layout=options.layout,
        format=options.format,
        fell_out=fell_out,
        runtime=options.runtime,
        features=options.features,
        # The one exception to "data only": `--features nvtabular` unpickles the workflow at load.
        holds_pickle=options.features == "nvtabular",
        availability_given=options.availability is not None,
        request=plan.signature.to_json(),
        response={
            "item_ids": {"datatype": datatype_of(plan.vocabulary.values.dtype), "shape": ["B", "K"]},
            "scores": {"datatype": "FP32", "shape": ["B", "K"]},
            "status": {"datatype": "BYTES", "shape": ["B", 1], "values": list(STATUS)},
            **{head.name: {"datatype": "FP32", "shape": ["B", head.width]} for head in plan.signature.heads},
        },
        catalogue_size=len(plan.vocabulary.values),
        model_features=[{"name": f.name, "tensor": f.tensor, "dtype": f.dtype} for f in plan.features],
        libraries={name: _version(name) for name in _LIBRARIES},
        parity=[report.to_json() for report in parity],
        catalogue=catalogue,
    ).write(build)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
