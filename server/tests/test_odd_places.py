"""Repositories and temporary folders as volumes, users and attackers name them, with the real Triton."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nextitem_server import TritonServer, WorkFolderError
from nextitem_server.layout import make_work_folder
from nextitem_server.locate import locate

ODD = ["sp ace", "a;b", "läden", "it's", "$(touch marker)", "`touch marker`", "a&b", "x\ny"]


@pytest.mark.parametrize("name", ODD)
def test_a_repository_of_any_path_is_served_and_nothing_of_it_is_run(bundle, private_tmp, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / name
    shutil.move(bundle, odd)
    with TritonServer(odd, timeout_s=30) as server:
        assert sorted(model.name for model in server.models()) == ["shop", "shop_features"]
    assert not list(tmp_path.rglob("marker"))
    assert list(private_tmp.iterdir()) == []


@pytest.mark.parametrize("name", ODD)
def test_an_odd_folder_for_temporary_files_is_refused_at_once(bundle, tmp_path, monkeypatch, name):
    odd = tmp_path / name
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with pytest.raises(
        WorkFolderError, match=r"a path that Triton cannot start models by; .* Set TMPDIR to such a folder"
    ):
        TritonServer(bundle).start()
    assert list(odd.iterdir()) == []


def test_stray_folders_beside_good_models_stop_nothing(bundle, private_tmp):
    (bundle / "notes").mkdir()
    (bundle / "lost+found").mkdir(mode=0o700)
    with TritonServer(bundle, timeout_s=30) as server:
        assert [model.name for model in server.models() if model.state == "READY"] == ["shop", "shop_features"]
        assert list(server.notices) == [
            f"Left alone in {bundle}: lost+found (no config.pbtxt in it), notes (no config.pbtxt in it)."
        ]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root to be another user")
def test_another_user_s_lost_and_found_is_left_alone(bundle):
    (bundle / "lost+found").mkdir(mode=0o700)
    for folder in [bundle, *bundle.parents]:
        if not os.stat(folder).st_mode & 0o005:
            pytest.skip(f"{folder} is closed to other users")
    code = (
        "import sys; from pathlib import Path; from nextitem_server.repository import check_repository, left_alone; "
        "print(check_repository(Path(sys.argv[1])), left_alone(Path(sys.argv[1])))"
    )
    command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", code, str(bundle)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if "No module named" in done.stderr or done.returncode == 126:
        pytest.skip("this Python is closed to other users")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['shop', 'shop_features'] Left alone")
    assert "lost+found (Permission denied)" in done.stdout


def test_a_full_folder_for_temporary_files(private_tmp, monkeypatch):
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", str(private_tmp))

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(
        WorkFolderError, match=rf"cannot be made in {private_tmp} .*No space left on device.*set TMPDIR"
    ):
        make_work_folder(locate())
    assert list(private_tmp.iterdir()) == []


@pytest.fixture
def noexec(tmp_path):
    """A mounted folder from which nothing may be run."""
    folder = tmp_path / "noexec"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "noexec,size=64m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_for_temporary_files_that_may_hold_no_programs(bundle, noexec, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(noexec))
    with pytest.raises(
        WorkFolderError, match=r"from which no program may be run .*noexec.* Set TMPDIR to a folder elsewhere"
    ):
        TritonServer(bundle).start()
    assert list(noexec.iterdir()) == []
