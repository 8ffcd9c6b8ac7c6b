"""The versions of a bundle in a model repository: which are there, which one answers, and which of them go.

<name>/config.pbtxt                 pinned to the version that answers
<name>/<version>/bundle.json        the manifest of a version
<model>/<version>/config.pbtxt      the configuration that comes with a version, of the bundle and of each step
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from .manifest import MANIFEST, read_manifest

CONFIG = "config.pbtxt"
"""The file of a model's configuration."""
WARM_UP = "warmup"
"""The folder of a model where Triton looks for warm-up data."""
NO_CACHE = "__pycache__"
"""A file beside model.py that keeps Python from making its folder of compiled files.

Triton would take a version with a new file in it for another one, and load it once more at the next switch.
"""
# The one field of a configuration that is read as text: servers have no protobuf.
_POLICY = re.compile(r"\bversion_policy\s*:?\s*\{\s*(?:specific\s*:?\s*\{([^}]*)\}|\w+\s*:?\s*\{\s*\})\s*\}")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


def pinned_versions(config: Path) -> tuple[int, ...]:
    """The versions that a config.pbtxt names.

    Args:
        config: the file.

    Returns:
        The versions; () where the file leaves them open or cannot be read.
    """
    try:
        policy = _POLICY.search(_COMMENT.sub("", config.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return ()
    return tuple(int(version) for version in re.findall(r"\d+", policy[1] or "")) if policy else ()


def same_but_for_versions(one: Path, other: Path) -> bool:
    """Whether two config.pbtxt differ in nothing but which versions are served.

    Args:
        one: a file.
        other: the file to compare it with.

    Raises:
        OSError: a file cannot be read.
        UnicodeDecodeError: a file is not text.
    """
    texts = [_COMMENT.sub("", _POLICY.sub("", path.read_text(encoding="utf-8"))).split() for path in (one, other)]
    return texts[0] == texts[1]


def active_version(repository: Path, name: str) -> int | None:
    """The version to which the bundle's configuration is pinned.

    Args:
        repository: the model repository's folder.
        name: the bundle.

    Returns:
        The version, None where there is no bundle of that name.
    """
    pinned = pinned_versions(repository / name / CONFIG)
    return pinned[0] if len(pinned) == 1 else None


def versions_of(repository: Path, name: str) -> list[int]:
    """The versions of a bundle in the repository, oldest first.

    Args:
        repository: the model repository's folder.
        name: the bundle.
    """
    return sorted(
        int(path.parent.name) for path in (repository / name).glob(f"*/{MANIFEST}") if path.parent.name.isdigit()
    )


def next_version(repository: Path, models: Sequence[str]) -> int:
    """One more than the highest version of any of these models, 1 where there is none.

    Args:
        repository: the model repository's folder.
        models: the models' names.
    """
    versions = [
        int(folder.name)
        for model in models
        if (repository / model).is_dir()
        for folder in (repository / model).iterdir()
        if folder.name.isdigit()
    ]
    return max(versions, default=0) + 1


def prune(repository: Path, name: str, keep: int, also: Collection[int] = ()) -> list[int]:
    """Remove old versions of a bundle. The active one stays.

    A version's manifest is removed last, so that the next call finishes what was interrupted.

    Args:
        repository: the model repository's folder.
        name: the bundle.
        keep: the number of versions that stay, the newest, with the active one and those in `also`.
        also: versions that stay in any case.

    Returns:
        The versions that were removed.

    Raises:
        BundleError: a manifest cannot be read.
    """
    held = {active_version(repository, name), *also}
    others = [version for version in versions_of(repository, name) if version not in held]
    doomed = others[: max(0, len(others) - max(0, keep - len(held)))]
    for version in doomed:
        for model in read_manifest(repository, name, version).models:
            for folder in (repository / model / WARM_UP / str(version), repository / model / str(version)):
                if folder.is_dir():
                    shutil.rmtree(folder)
    return doomed
