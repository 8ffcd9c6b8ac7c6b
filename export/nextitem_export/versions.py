"""The versions of a bundle in a model repository: which are there, which one answers, and which of them go.

<name>/config.pbtxt                 pinned to the version that answers
<name>/<version>/bundle.json        the manifest of a version
<model>/<version>/config.pbtxt      the configuration that comes with a version, of the bundle and of each step
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ._errors import RepositoryError
from .triton_config import CONFIG, WARM_UP, pinned_versions

MANIFEST = "bundle.json"


def active_version(repository: Path, name: str) -> int | None:
    """The version to which the bundle's configuration is pinned, None where there is no bundle of that name."""
    pinned = pinned_versions(repository / name / CONFIG)
    return pinned[0] if len(pinned) == 1 else None


def versions_of(repository: Path, name: str) -> list[int]:
    """Those in the repository, oldest first."""
    return sorted(
        int(path.parent.name) for path in (repository / name).glob(f"*/{MANIFEST}") if path.parent.name.isdigit()
    )


def read_manifest(repository: Path, name: str, version: int) -> dict[str, Any]:
    """The bundle.json of a version. Raises RepositoryError."""
    path = repository / name / str(version) / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["models"][-1] == name and isinstance(document["sha256"], dict):
            return document
        found = f"it is that of {document['models'][-1]}"
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        found = f"{type(error).__name__}: {error}"
    raise RepositoryError(
        f"{path} cannot be read as the manifest of '{name}' ({found}): export or copy the bundle again"
    )


def next_version(repository: Path, models: Sequence[str]) -> int:
    """One more than the highest version of any of these models, 1 where there is none."""
    versions = [
        int(folder.name)
        for model in models
        if (repository / model).is_dir()
        for folder in (repository / model).iterdir()
        if folder.name.isdigit()
    ]
    return max(versions, default=0) + 1


def prune(repository: Path, name: str, keep: int, also: Collection[int] = ()) -> list[int]:
    """Remove all versions but the one that answers, those in `also`, and the newest others, `keep` in all. Returns them.

    A version's manifest goes last: what was interrupted is finished the next time.
    """
    held = {active_version(repository, name), *also}
    others = [version for version in versions_of(repository, name) if version not in held]
    doomed = others[: max(0, len(others) - max(0, keep - len(held)))]
    for version in doomed:
        for model in read_manifest(repository, name, version)["models"]:
            for folder in (repository / model / WARM_UP / str(version), repository / model / str(version)):
                if folder.is_dir():
                    shutil.rmtree(folder)
    return doomed
