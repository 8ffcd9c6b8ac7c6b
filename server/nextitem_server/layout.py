"""The private work folder of one server, and the environment that it runs in.

    <temporary>/nextitem-serve-XXXX/
      backends/python/      the embedded server's Python backend, completed with this Python's stub
      tritonserver.log      the whole log, unless the caller names another file
      models                a link to the model repository, where that has a path that Triton cannot pass on

Copied rather than completed in place: site-packages may be read-only, and is not ours.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nextitem_server.errors import WorkFolderError
from nextitem_server.locate import Installation
from nextitem_server.repository import PLAIN_PATH

# Every shared-memory region of every nextitem server starts with this, then with its own token.
SHM_PREFIX = "nextitem-"


@dataclass(frozen=True)
class WorkFolder:
    """Where one server's private files are, and how its shared memory is named."""

    path: Path
    backends: Path | None
    log: Path
    shm_prefix: str

    def plain(self, repository: Path) -> Path:
        """The repository under a path that Triton can pass on: its own, or a link in this folder."""
        if PLAIN_PATH.fullmatch(str(repository)):
            return repository
        link = self.path / "models"
        link.symlink_to(repository)
        return link

    def remove(self) -> None:
        """Remove the folder; what is gone already is fine."""
        shutil.rmtree(self.path, ignore_errors=True)


def make_work_folder(installation: Installation, log_path: Path | None = None) -> WorkFolder:
    """Lay out a new work folder for `installation`; the caller removes it.

    Raises WorkFolderError where temporary files cannot be what is needed.
    """
    place = tempfile.gettempdir()
    if not PLAIN_PATH.fullmatch(place):
        raise WorkFolderError(
            f"Temporary files go to {place!r}, a path that Triton cannot start models by; expected are letters and digits of "
            "ASCII, '_', '-', '.' and '/'. Set TMPDIR to such a folder."
        )
    try:
        return _laid_out(installation, log_path)
    except OSError as error:
        raise WorkFolderError(
            f"The server's work folder cannot be made in {place} ({error}). Free some megabytes there, or set TMPDIR to "
            "another folder."
        ) from error


def _laid_out(installation: Installation, log_path: Path | None) -> WorkFolder:
    path = Path(tempfile.mkdtemp(prefix="nextitem-serve-"))
    try:
        backends = installation.backends
        if installation.python_backend is not None and installation.python_stub is not None:
            backends = path / "backends"
            shutil.copytree(
                installation.python_backend,
                backends / "python",
                ignore=shutil.ignore_patterns("__pycache__"),
            )
            stub = Path(shutil.copy2(installation.python_stub, backends / "python"))
            if not os.access(stub, os.X_OK):
                raise WorkFolderError(
                    f"Temporary files go to {tempfile.gettempdir()}, from which no program may be run (it is mounted with "
                    "noexec), and Triton runs models by one. Set TMPDIR to a folder elsewhere."
                )
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return WorkFolder(
        path=path,
        backends=backends,
        log=log_path if log_path is not None else path / "tritonserver.log",
        shm_prefix=f"{SHM_PREFIX}{uuid.uuid4().hex[:12]}-",
    )


def environment(installation: Installation, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables that tritonserver and its Python stubs run with.

    The stub finds its Python through PATH, so the running environment comes first there.
    """
    variables = dict(inherited)
    variables["PATH"] = _before(Path(sys.executable).parent, inherited.get("PATH"))
    libraries = inherited.get("LD_LIBRARY_PATH")
    for folder in reversed(installation.library_folders):
        libraries = _before(folder, libraries)
    if libraries:
        variables["LD_LIBRARY_PATH"] = libraries
    # Instances run side by side: one thread each, or every one would start a thread per core.
    variables.setdefault("OMP_NUM_THREADS", "1")
    return variables


def _before(folder: Path, rest: str | None) -> str:
    return f"{folder}{os.pathsep}{rest}" if rest else str(folder)
