"""Whether the files of a version are those that were exported."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ._errors import RepositoryError
from .triton_config import CONFIG
from .versions import MANIFEST, read_manifest

_BLOCK_BYTES = 1 << 20


def verify(repository: Path, name: str, version: int) -> None:
    """Compare every file of a version with its checksum in bundle.json. Raises RepositoryError with the first that differs.

    A model's own config.pbtxt is that of the version that answers; each version has its own beside its files.
    """
    expected = read_manifest(repository, name, version)["sha256"]
    files = [file for file in expected if not (file.count("/") == 1 and file.endswith(f"/{CONFIG}"))]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashing lets other threads run
        for file, found in zip(files, pool.map(lambda file: _sha256(repository / file, name), files), strict=True):
            if found != expected[file]:
                raise RepositoryError(
                    f"{repository / file} is not the file that was exported: its sha256 is {found}, and {MANIFEST} of "
                    f"'{name}' version {version} says {expected[file]}. Export or copy the bundle again; nothing was changed"
                )


def _sha256(file: Path, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as content:
            while block := content.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise RepositoryError(
            f"{file} cannot be read ({error.strerror}), and {MANIFEST} of '{name}' lists it: export or copy the bundle "
            "again; nothing was changed"
        ) from error
    return digest.hexdigest()
