"""Removes from an environment what a server never reads; run by the Dockerfile at build.

python3 deploy/slim_environment.py FOLDER   (its site-packages, under FOLDER/lib/pythonX.Y)

Compiled .pyc files stay: the image runs with a read-only root, where Python cannot write them.
"""

import shutil
import sys
from pathlib import Path

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

# Of the pytriton package only the server inside is used, and of that one stub.
PYTRITON_KEPT = {"__init__.py", "tritonserver"}
UNUSED = [
    "pytriton/tritonserver/caches",  # response caches; a session's answer is not asked for twice
    "numpy/array_api",
    "numpy/distutils",
    "numpy/f2py",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "pyarrow/include",
    "pyarrow/src",
    "torch/include",
]
UNUSED_PATTERNS = [
    "nvidia_pytriton.libs/libpython3-*",  # what the stub for Python 3.13 links to
    "numpy/**/tests",
    "onnxruntime/**/tests",
    "pandas/tests",
    "pyarrow/tests",
    "scipy/**/tests",
    "numba/tests",
    "dask/**/tests",
    "distributed/**/tests",
]


def unused(packages: Path) -> list[Path]:
    """Files and folders under site-packages that serving never opens."""
    found = [packages / name for name in UNUSED]
    found += [path for pattern in UNUSED_PATTERNS for path in packages.glob(pattern)]
    found += [p for p in (packages / "pytriton").iterdir() if p.name not in PYTRITON_KEPT]
    stubs = packages / "pytriton/tritonserver/python_backend_stubs"
    if not (stubs / PYTHON).is_dir():
        sys.exit(f"{stubs} has no stub for Python {PYTHON}: has the wheel's layout changed?")
    found += [path for path in stubs.iterdir() if path.name != PYTHON]
    outermost = [p for p in set(found) if not any(parent in found for parent in p.parents)]
    return sorted(path for path in outermost if path.exists())


def size(path: Path) -> int:
    """Bytes of the file, or of all files below."""
    return sum(p.lstat().st_size for p in [path, *path.rglob("*")] if not p.is_dir())


def main() -> None:
    """Remove it all and say how much that was."""
    (packages,) = Path(sys.argv[1]).glob("lib/python*/site-packages")
    freed = 0
    for path in unused(packages):
        freed += size(path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    print(f"{packages}: {freed / 1e6:.0f} MB removed, {size(packages) / 1e6:.0f} MB stay")


if __name__ == "__main__":
    main()
