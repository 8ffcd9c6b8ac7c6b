"""Whether the files of the bundles that would answer are those that were exported, by the checksums in bundle.json."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nextitem_server.errors import RepositoryError

MANIFEST = "bundle.json"
_CONFIG = "config.pbtxt"
_SIGNATURE = "nextitem.signature"
_VERSIONS = re.compile(r"^version_policy \{\s*specific \{([^}]*)\}\s*\}\n", re.MULTILINE)
_BLOCK_BYTES = 1 << 20


def verify_bundles(repository: Path, models: Sequence[str]) -> None:
    """Compare the files of each bundle among `models`, in the version that it is pinned to, with its manifest.

    Models that nextitem-export did not write are left alone, and so is what a manifest does not list. Raises RepositoryError.
    """
    for model in models:
        config = repository / model / _CONFIG
        text = config.read_text(encoding="utf-8", errors="replace") if config.exists() else ""
        pinned = _VERSIONS.search(text)
        versions = re.findall(r"\d+", pinned[1]) if pinned else []
        if _SIGNATURE in text and len(versions) == 1:
            _verify(repository, model, versions[0])


def _verify(repository: Path, name: str, version: str) -> None:
    manifest = repository / name / version / MANIFEST
    try:
        expected: dict[str, str] = dict(json.loads(manifest.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RepositoryError(
            f"{manifest} cannot be read as the manifest of the bundle {name} ({type(error).__name__}: {error}). Export or "
            "copy the bundle again, or start with --no-verify to serve it as it is."
        ) from None
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashing lets other threads run
        digests = pool.map(lambda file: _digest(repository, file, version, expected), expected)
        for file, found in zip(expected, digests, strict=True):
            if found != expected[file]:
                what = f"its sha256 is {found}, {MANIFEST} says {expected[file]}" if found else "it cannot be read"
                raise RepositoryError(
                    f"{repository / file} is not the file that was exported with version {version} of the bundle {name}: "
                    f"{what}. Export or copy the bundle again, go to another version (nextitem-export --activate VERSION), "
                    "or start with --no-verify if the change is meant."
                )


def _digest(repository: Path, file: str, version: str, expected: dict[str, str]) -> str:
    """The sha256 of a file, "" where it cannot be read."""
    try:
        model, _, rest = file.partition("/")
        own = repository / model / version / _CONFIG
        if rest == _CONFIG and own.is_file():
            # A switch that was interrupted leaves it pinned to two versions, which is nothing wrong.
            texts = [path.read_text(encoding="utf-8") for path in (repository / file, own)]
            if _but_for_versions(texts[0]) == _but_for_versions(texts[1]):
                return expected[file]
        digest = hashlib.sha256()
        with (repository / file).open("rb") as content:
            while block := content.read(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()
    except (OSError, UnicodeDecodeError):
        return ""


def _but_for_versions(config: str) -> str:
    """A config.pbtxt without its version policy and its comments."""
    return "\n".join(line for line in _VERSIONS.sub("", config).splitlines() if not line.startswith("#"))
