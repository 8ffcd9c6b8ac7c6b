import os
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = """
name: "{name}"
backend: "{backend}"
max_batch_size: 0
input [ {{ name: "x" data_type: TYPE_INT64 dims: [-1] }} ]
output [ {{ name: "y" data_type: TYPE_INT64 dims: [-1] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
{extra}
"""
SIGNATURE = 'parameters { key: "nextitem.signature" value: { string_value: "{}" } }'
GOOD = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        x = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("y", values)]) for values in x]
"""
FAILING = """
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("step.json has format 2; this runtime reads 1")
"""
SLOW = """
import time

class TritonPythonModel:
    def initialize(self, args):
        time.sleep(60)
"""
SOURCES = {"good": GOOD, "failing": FAILING, "slow": SLOW, "missing": None}

AddModel = Callable[..., Path]


@pytest.fixture
def add_model(tmp_path: Path) -> AddModel:
    """Writes a model into tmp_path/repository and returns the repository."""
    repository = tmp_path / "repository"

    def add(name: str, source: str = "good", backend: str = "python", extra: str = "") -> Path:
        _write_model(repository, name, source, backend, extra)
        return repository

    return add


@pytest.fixture(scope="module")
def shop_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model for a server that the tests of a module ask."""
    repository = tmp_path_factory.mktemp("shop") / "repository"
    _write_model(repository, "shop")
    return repository


def _write_model(repository: Path, name: str, source: str = "good", backend: str = "python", extra: str = "") -> None:
    (repository / name / "1").mkdir(parents=True)
    config = CONFIG.format(name=name, backend=backend, extra=extra)
    (repository / name / "config.pbtxt").write_text(config)
    if SOURCES[source] is not None:
        (repository / name / "1" / "model.py").write_text(SOURCES[source])


@pytest.fixture
def bundle(add_model: AddModel) -> Path:
    """A repository with a model that clients call and one that they do not."""
    add_model("shop", extra=SIGNATURE)
    return add_model("shop_features")


@pytest.fixture
def private_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's servers put their work folders, here and in subprocesses."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def processes(private_tmp: Path) -> Callable[[], dict[int, str]]:
    """Command line by process id of what runs for servers under private_tmp, zombies left out."""

    def find() -> dict[int, str]:
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if entry.name.isdigit() and str(private_tmp) in line and int(entry.name) != os.getpid():
                found[int(entry.name)] = line
        return found

    return find
