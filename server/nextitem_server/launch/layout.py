"""The private work folder of one server, and the environment that it runs in.

    <temporary>/nextitem-serve-XXXX/
      backends/python/      the embedded server's Python backend, completed with this Python's stub
      tritonserver.log      the whole log, unless the caller names another file
      repository-1, …       links to folders whose own paths Triton cannot pass on

The backend is copied rather than completed in place: site-packages may be read-only, and is not ours. Triton follows links
without resolving them.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nextitem_server.errors import WorkFolderError
from nextitem_server.launch.locate import Installation
from nextitem_server.repository import PLAIN_PATH

# Every shared-memory region of every nextitem server starts with this, then with its own token.
SHM_PREFIX = "nextitem-"


@dataclass(frozen=True)
class WorkFolder:
    """Where one server's private files are, under which paths it sees others, and how its shared memory is named.

    links: what each link in the folder stands for.
    """

    path: Path
    installation: Installation
    repositories: tuple[Path, ...]
    log: Path
    shm_prefix: str
    links: Mapping[Path, Path]

    def remove(self) -> None:
        """Remove the folder; what is gone already is fine."""
        shutil.rmtree(self.path, ignore_errors=True)

    def with_real_paths(self, text: str) -> str:
        """`text` with what the links stand for in their place."""
        for link, target in self.links.items():
            text = text.replace(str(link), str(target))
        return text


def make_work_folder(
    installation: Installation, repositories: Sequence[Path] = (), log_path: Path | None = None
) -> WorkFolder:
    """Lay out a new work folder for `installation` and `repositories`; the caller removes it.

    Raises WorkFolderError where temporary files cannot be what is needed.
    """
    try:
        place = tempfile.gettempdir()
    except OSError as error:  # it says which were tried
        raise WorkFolderError(
            f"There is no folder for temporary files ({error.strerror}). Set TMPDIR to one."
        ) from None
    if not PLAIN_PATH.fullmatch(place):
        raise WorkFolderError(
            f"Temporary files go to {place!r}, a path that Triton cannot start models by; expected are letters and digits of "
            "ASCII, '_', '-', '.' and '/'. Set TMPDIR to such a folder."
        )
    try:
        return _laid_out(installation, repositories, log_path)
    except OSError as error:
        # copytree tells what happened to each file: source, destination, reason.
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise WorkFolderError(
            f"The server's work folder cannot be made in {place} ({reason}). Free some megabytes there, or set TMPDIR to "
            "another folder."
        ) from error


def _laid_out(installation: Installation, repositories: Sequence[Path], log_path: Path | None) -> WorkFolder:
    path = Path(tempfile.mkdtemp(prefix="nextitem-serve-")).absolute()
    links: dict[Path, Path] = {}

    def plain(folder: Path, name: str) -> Path:
        if PLAIN_PATH.fullmatch(str(folder)):
            return folder
        link = path / name
        link.symlink_to(folder)
        links[link] = folder
        return link

    try:
        seen = tuple(
            plain(repository.resolve(), f"repository-{number}") for number, repository in enumerate(repositories, 1)
        )
        installation = dataclasses.replace(
            installation,
            backends=_complete_backend(installation, path / "backends")
            or (installation.backends and plain(installation.backends, "backends")),
            library_folders=tuple(
                plain(folder, f"libraries-{number}") for number, folder in enumerate(installation.library_folders, 1)
            ),
            # The folder above makes it an environment.
            programs=plain(installation.programs.parent, "python") / installation.programs.name,
        )
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    log = log_path if log_path is not None else path / "tritonserver.log"
    return WorkFolder(path, installation, seen, log, f"{SHM_PREFIX}{uuid.uuid4().hex[:12]}-", links)


def _complete_backend(installation: Installation, into: Path) -> Path | None:
    """The embedded server's backends, completed in the folder `into`; None for an installed server."""
    if installation.python_backend is None or installation.python_stub is None:
        return None
    shutil.copytree(installation.python_backend, into / "python", ignore=shutil.ignore_patterns("__pycache__"))
    stub = Path(shutil.copy2(installation.python_stub, into / "python"))
    if not os.access(stub, os.X_OK):
        raise WorkFolderError(
            f"Temporary files go to {tempfile.gettempdir()}, from which no program may be run (it is mounted with "
            "noexec), and Triton runs models by one. Set TMPDIR to a folder elsewhere."
        )
    return into


def environment(installation: Installation, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables that tritonserver and its Python stubs run with.

    The stub finds its Python through PATH, so the running environment comes first there.
    """
    variables = dict(inherited)
    variables["PATH"] = _before(installation.programs, inherited.get("PATH"))
    libraries = inherited.get("LD_LIBRARY_PATH")
    for folder in reversed(installation.library_folders):
        libraries = _before(folder, libraries)
    if libraries:
        variables["LD_LIBRARY_PATH"] = libraries
    # Instances run side by side: one thread each, or every one would start a thread per core.
    variables.setdefault("OMP_NUM_THREADS", "1")
    # glibc gives each of Triton's many threads a heap of its own, of which nothing comes back: it grew for an hour and longer.
    variables.setdefault("MALLOC_ARENA_MAX", "2")
    # Bodies of megabytes are mapped and given back; by itself glibc soon puts them into the heaps, among what stays.
    variables.setdefault("MALLOC_MMAP_THRESHOLD_", "131072")
    return variables


def _before(folder: Path, rest: str | None) -> str:
    return f"{folder}{os.pathsep}{rest}" if rest else str(folder)
