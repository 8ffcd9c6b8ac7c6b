"""The private work folder of one server, and the environment that it runs in.

    <temporary>/nextitem-serve-XXXX/
      backends/python/      the embedded server's Python backend, completed with this Python's stub
      tritonserver.log      the whole log, unless the caller names another file

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

from nextitem_server.locate import Installation

# Every shared-memory region of every nextitem server starts with this, then with its own token.
SHM_PREFIX = "nextitem-"


@dataclass(frozen=True)
class WorkFolder:
    """Where one server's private files are, and how its shared memory is named."""

    path: Path
    backends: Path | None
    log: Path
    shm_prefix: str

    def remove(self) -> None:
        """Remove the folder; what is gone already is fine."""
        shutil.rmtree(self.path, ignore_errors=True)


def make_work_folder(installation: Installation, log_path: Path | None = None) -> WorkFolder:
    """Lay out a new work folder for `installation`; the caller removes it."""
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
            shutil.copy2(installation.python_stub, backends / "python")
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
