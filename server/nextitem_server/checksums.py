"""Whether the files of the bundles that would answer are those that were exported, by the checksums in bundle.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nextitem_bundle.checksums import verify
from nextitem_bundle.errors import BundleError
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.signature import PARAMETER
from nextitem_bundle.versions import CONFIG, active_version
from nextitem_server.errors import RepositoryError


def verify_bundles(repository: Path, models: Sequence[str]) -> None:
    """Compare the files of each bundle among `models`, in the version that it is pinned to, with its manifest.

    Models that nextitem-export did not write are left alone, and so is what a manifest does not list. Raises RepositoryError.
    """
    for model in models:
        config = repository / model / CONFIG
        version = active_version(repository, model)
        if version is None or PARAMETER.encode() not in config.read_bytes():
            continue
        try:
            verify(repository, read_manifest(repository, model, version), answers=True)
        except BundleError as error:
            raise RepositoryError(
                f"{error}. Export or copy the bundle again, go to another version (nextitem-export --activate VERSION), or "
                "start with --no-verify if the change is meant."
            ) from None
