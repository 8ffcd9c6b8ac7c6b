"""Whether the files of a version are those that were exported: their sha256, in the manifest."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import BundleError
from .manifest import MANIFEST, Manifest
from .versions import CONFIG, same_but_for_versions

_BLOCK_BYTES = 1 << 20

_logger = logging.getLogger(__name__)


def checksums_of(repository: Path, files: Iterable[Path]) -> dict[str, str]:
    """The sha256 of files, in hexadecimal.

    Args:
        repository: the model repository's folder.
        files: files in it.

    Returns:
        The digest of each file, by its path in the repository.

    Raises:
        OSError: a file cannot be read.
    """
    paths = list(files)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashing lets other threads run
        digests = pool.map(_sha256, paths)
        return {path.relative_to(repository).as_posix(): digest for path, digest in zip(paths, digests)}


def verify(repository: Path, manifest: Manifest, *, answers: bool) -> None:
    """Compare every file of a version with its checksum.

    Args:
        repository: the model repository's folder.
        manifest: the version's manifest.
        answers: the version is the active one, so that each model's own config.pbtxt has to be the version's. A file
            that is pinned otherwise, as an interrupted switch leaves it, passes all the same.

    Raises:
        BundleError: a file differs or is missing; the message names the first.
    """
    files = [file for file in manifest.sha256 if answers or not _is_shared(file)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        wrong = pool.map(functools.partial(_what_is_wrong, repository, manifest), files)
        for file, what in zip(files, wrong):
            if what:
                raise BundleError(f"{repository / file} {what}")
    _logger.debug(
        "all %d files of '%s' version %d are those that were exported", len(files), manifest.name, manifest.version
    )


def _is_shared(file: str) -> bool:
    """Whether it is a model's own configuration, one for all versions; each version has its own beside its files."""
    return file.count("/") == 1 and file.endswith(f"/{CONFIG}")


def _what_is_wrong(repository: Path, manifest: Manifest, file: str) -> str:
    """What is wrong with a file, "" if nothing."""
    path = repository / file
    of_the_version = path.parent / str(manifest.version) / CONFIG
    try:
        if _is_shared(file) and of_the_version.is_file() and same_but_for_versions(path, of_the_version):
            return ""
        found = _sha256(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        return f"cannot be read ({why}), and {MANIFEST} of '{manifest.name}' version {manifest.version} lists it"
    if found == manifest.sha256[file]:
        return ""
    return (
        f"is not the file that was exported: its sha256 is {found}, and {MANIFEST} of '{manifest.name}' version "
        f"{manifest.version} says {manifest.sha256[file]}"
    )


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
