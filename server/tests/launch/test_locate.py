import importlib.util
import sys
from pathlib import Path

import pytest

from nextitem_server import TritonNotFound
from nextitem_server.launch import locate

INSTALL = r"pip install 'nvidia-pytriton==0\.7\.0'"


def test_the_embedded_one_is_complete():
    found = locate.locate()
    assert found.binary.is_file()
    assert found.python_stub.is_file()
    assert (found.python_backend / "libtriton_python.so").is_file()
    assert all(folder.is_dir() for folder in found.library_folders)


def test_nothing_of_the_wheel_is_imported():
    locate.locate()
    assert "pytriton" not in sys.modules


def test_without_the_wheel(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TritonNotFound, match=rf"not installed.*{INSTALL}"):
        locate.locate()


def test_another_platform(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(TritonNotFound, match=rf"this is darwin.*{INSTALL}"):
        locate.locate()


def fake_wheel(folder: Path, *versions: str) -> Path:
    for version in versions:
        stub = folder / "tritonserver" / "python_backend_stubs" / version
        stub.mkdir(parents=True)
        (stub / "triton_python_backend_stub").touch()
    (folder / "tritonserver" / "bin").mkdir(parents=True)
    (folder / "tritonserver" / "bin" / "tritonserver").touch()
    return folder


def test_a_python_without_stub(tmp_path):
    with pytest.raises(TritonNotFound, match=rf"Python 3\.14.*for 3\.9, 3\.11\..*{INSTALL}"):
        locate.embedded_in(fake_wheel(tmp_path, "3.11", "3.9"), (3, 14))


def test_a_wheel_without_binary(tmp_path):
    with pytest.raises(TritonNotFound, match=rf"no tritonserver binary.*{INSTALL}"):
        locate.embedded_in(tmp_path, (3, 11))


def test_a_python_without_shared_library(tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "libpython_folder", lambda: None)
    monkeypatch.setattr(locate, "_loadable", lambda name: False)
    with pytest.raises(TritonNotFound, match=r"libpython.*apt-get install libpython3\.11"):
        locate.embedded_in(fake_wheel(tmp_path, "3.11"), (3, 11))


def test_an_installed_one_by_its_folder(tmp_path):
    program = tmp_path / "bin" / "tritonserver"
    program.parent.mkdir()
    program.touch(mode=0o755)
    (tmp_path / "backends").mkdir()
    found = locate.locate(tmp_path)
    assert found.binary == program
    assert found.backends == tmp_path / "backends"
    assert found.python_stub is None


def test_an_installed_one_that_is_not_there(tmp_path):
    with pytest.raises(TritonNotFound, match=r"--server .* no executable file"):
        locate.locate(tmp_path / "tritonserver")
