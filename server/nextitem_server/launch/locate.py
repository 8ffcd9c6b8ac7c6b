"""Finds tritonserver: in the nvidia-pytriton wheel, or where the caller says.

The wheel carries the real binary with one backend, `python`. Nothing of it is imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from nextitem_server.errors import TritonNotFound

WHEEL = "nvidia-pytriton==0.7.0"
INSTALL = f"pip install '{WHEEL}' (or: pip install 'nextitem-server[embedded]')"


@dataclass(frozen=True)
class Installation:
    """A tritonserver and what it needs around it.

    `python_backend` and `python_stub` are set for the embedded server only: its backend has to be
    completed with the stub of the running Python. `backends` is set for an installed server whose
    backends were found beside it; None leaves Triton's own default. `programs` is the folder of the running Python.
    """

    binary: Path
    library_folders: tuple[Path, ...] = ()
    python_backend: Path | None = None
    python_stub: Path | None = None
    backends: Path | None = None
    programs: Path = field(default_factory=lambda: Path(sys.executable).parent)


def locate(server: str | os.PathLike[str] | None = None) -> Installation:
    """The installed tritonserver at `server`, or the embedded one when it is None.

    Raises TritonNotFound with the cure.
    """
    return _embedded() if server is None else _installed(Path(server))


def _installed(given: Path) -> Installation:
    if given.is_dir():  # /opt/tritonserver
        given = given / "bin" / "tritonserver"
    found = shutil.which(given)
    if found is None:
        raise TritonNotFound(
            f"--server {given}: there is no executable file of that name. Give the path of a "
            "tritonserver binary, such as /opt/tritonserver/bin/tritonserver in NVIDIA's image, "
            "or leave --server away to use the embedded one."
        )
    binary = Path(found).resolve()
    root = binary.parent.parent
    folders = tuple(folder for folder in (root / "lib", libpython_folder()) if _is_dir(folder))
    backends = root / "backends"
    return Installation(
        binary,
        library_folders=tuple(folder for folder in folders if folder is not None),
        backends=backends if backends.is_dir() else None,
    )


def _is_dir(folder: Path | None) -> bool:
    return folder is not None and folder.is_dir()


def _embedded() -> Installation:
    _require_platform(sys.platform, platform.machine())
    spec = importlib.util.find_spec("pytriton")  # finds a top-level package without importing it
    if spec is None or not spec.submodule_search_locations:
        raise TritonNotFound(
            "The embedded Triton is not installed in this environment. Install it with: "
            f"{INSTALL}; or give an installed one with --server PATH."
        )
    return embedded_in(Path(next(iter(spec.submodule_search_locations))), sys.version_info[:2])


def _require_platform(system: str, machine: str) -> None:
    if system != "linux" or machine not in ("x86_64", "aarch64"):
        raise TritonNotFound(
            f"The embedded Triton runs on Linux (x86_64, aarch64); this is {system} on {machine}. "
            "Use the container image (docker compose up server), or a Linux machine and there: "
            f"{INSTALL}."
        )


def embedded_in(package: Path, version: tuple[int, int]) -> Installation:
    """The tritonserver inside the unpacked wheel's folder `package`, for Python `version`."""
    root = package / "tritonserver"
    binary = root / "bin" / "tritonserver"
    if not binary.is_file():
        raise TritonNotFound(
            f"The package at {package} carries no tritonserver binary: a source install of "
            f"pytriton does not. Install the wheel with: {INSTALL}."
        )
    stubs = root / "python_backend_stubs"
    stub = stubs / f"{version[0]}.{version[1]}" / "triton_python_backend_stub"
    if not stub.is_file():
        known = sorted((folder.name for folder in stubs.glob("3.*")), key=lambda name: int(name[2:]))
        raise TritonNotFound(
            f"The embedded Triton has no stub for Python {version[0]}.{version[1]}; it has them "
            f"for {', '.join(known)}. Make an environment with one of these and there: {INSTALL}."
        )
    folders = [package.parent / "nvidia_pytriton.libs"]
    libpython = libpython_folder()
    if libpython is not None:
        folders.append(libpython)
    elif not _loadable(_libpython_name()):
        raise TritonNotFound(
            f"The embedded Triton needs {_libpython_name()}, which this Python ({sys.executable}) "
            "does not come with. Install it (Debian, Ubuntu: apt-get install "
            f"libpython{version[0]}.{version[1]}) or use a Python that was built with "
            "--enable-shared."
        )
    return Installation(
        binary,
        library_folders=tuple(folders),
        python_backend=root / "backends" / "python",
        python_stub=stub,
    )


def libpython_folder() -> Path | None:
    """The folder of the running Python's shared library, or None if only the loader may know."""
    config = sysconfig.get_config_var
    library = Path(config("LIBDIR") or "/usr/lib")
    candidates = [library, Path(sys.base_prefix) / "lib"]
    if config("MULTIARCH"):
        candidates.insert(1, library / str(config("MULTIARCH")))
    name = _libpython_name()
    return next((folder for folder in candidates if (folder / name).is_file()), None)


def _libpython_name() -> str:
    name = str(sysconfig.get_config_var("INSTSONAME") or "")
    if ".so" in name:
        return name
    return f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"


def _loadable(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
