"""Copies of a bundle that tests may change."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path


def copied(bundle: Path, repository: Path) -> Path:
    """Copy a bundle with its steps into another repository; returns where it is."""
    for folder in _folders(bundle):
        shutil.copytree(folder, repository / folder.name)
    return repository / bundle.name


def files(bundle: Path) -> list[tuple[str, int]]:
    """Every file and folder of the bundle and of what lies beside it, with the time of its last change."""
    return sorted((str(path), path.stat().st_mtime_ns) for path in bundle.parent.rglob("*"))


def change(file: Path, old: str, new: str) -> None:
    """Replace text in a file that must hold it."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def accept(bundle: Path, file: Path, version: int = 1) -> None:
    """Put a file's checksum into the manifest, as whoever doctors a bundle would."""
    manifest = bundle / str(version) / "bundle.json"
    document = json.loads(manifest.read_text())
    document["sha256"][file.relative_to(bundle.parent).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(document))


def _folders(bundle: Path) -> Iterator[Path]:
    names = (f"{bundle.name}{step}" for step in ("_features", "_retrieval", "_items", ""))
    for name in filter(lambda name: (bundle.parent / name).is_dir(), names):
        yield bundle.parent / name
