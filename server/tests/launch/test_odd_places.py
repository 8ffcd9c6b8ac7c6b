"""Repositories and temporary folders as volumes, users and attackers name them, with the real Triton."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from nextitem_server import ModelsFailed, TritonServer, WorkFolderError
from nextitem_server.launch.layout import make_work_folder
from nextitem_server.launch.locate import Installation, locate

ROOT = Path(__file__).parents[3]

ODD = ["sp ace", "a;b", "läden", "it's", "$(touch marker)", "`touch marker`", "a&b", "x\ny"]


def test_repositories_of_any_path_are_served_and_nothing_of_them_is_run(add_model, private_tmp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(ODD):
        shutil.move(add_model(f"model_{number}"), tmp_path / name)
    with TritonServer([tmp_path / name for name in ODD], timeout_s=30) as server:
        models = {model.name: model.state for model in server.models()}
    assert models == {f"model_{number}": "READY" for number in range(len(ODD))}
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


def test_errors_name_the_real_path(add_model, tmp_path, private_tmp):
    repository = add_model("hollow", "missing").rename(tmp_path / "a b")
    with pytest.raises(ModelsFailed) as caught:
        TritonServer(repository, timeout_s=30).start()
    assert f"'{repository}/hollow/1/model.py'" in str(caught.value)


def test_an_environment_of_any_path(bundle, tmp_path, private_tmp, monkeypatch):
    """Python and the wheel under a path that a shell would run, and that would part a list of libraries."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "a b;läden$(touch marker)`touch marker`'\"&"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    ours = Path(sysconfig.get_path("purelib"))
    (theirs,) = root.glob("lib/python3*/site-packages")
    for name in ("pytriton", "nvidia_pytriton.libs", "numpy", "numpy.libs"):
        if (ours / name).exists():
            (theirs / name).symlink_to(ours / name)
    code = (
        "import sys; from nextitem_server import TritonServer\n"
        "with TritonServer(sys.argv[1], timeout_s=30) as server:\n"
        "    print([model.state for model in server.models()])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / package) for package in ("server", "bundle"))}
    command = [root / "bin" / "python", "-c", code, bundle]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "['READY', 'READY']\n", done.stderr
    assert not list(tmp_path.rglob("marker"))


def test_an_installed_servers_folders_get_paths_that_can_be_passed_on(tmp_path, private_tmp):
    backends = tmp_path / "my backends"
    folder = make_work_folder(Installation(Path("t"), (tmp_path / "a;b",), backends=backends))
    assert folder.installation.backends == folder.path / "backends"
    assert folder.installation.backends.readlink() == backends
    assert folder.installation.library_folders == (folder.path / "libraries-1",)
    assert folder.with_real_paths(f"in {folder.path}/backends/x") == f"in {backends}/x"
    folder.remove()


def test_a_path_that_can_be_passed_on_stays_as_it_is(tmp_path, private_tmp):
    folder = make_work_folder(locate(), [tmp_path])
    assert folder.repositories == (tmp_path,)
    assert folder.links == {}
    folder.remove()


def test_no_folder_for_temporary_files_at_all(monkeypatch):
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/none']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(WorkFolderError, match=r"no folder .* \(No usable .* in \['/none'\]\)\. Set TMPDIR"):
        make_work_folder(locate())


def test_a_folder_for_temporary_files_that_is_gone(private_tmp):
    private_tmp.rmdir()
    with pytest.raises(WorkFolderError, match=rf"cannot be made in {private_tmp} .*No such file.*set TMPDIR"):
        make_work_folder(locate())


@pytest.fixture
def mounted(tmp_path, request):
    """A folder for temporary files that is a file system of its own, mounted with the test's options."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", request.param, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("mounted", "sentence"),
    [
        ("noexec,size=64m", r"from which no program may be run .*noexec.* Set TMPDIR to a folder elsewhere"),
        ("size=64k", r"cannot be made in \S+ \(\[Errno 28\] No space left on device.*or set TMPDIR to another folder"),
    ],
    indirect=["mounted"],
)
def test_a_folder_for_temporary_files_that_is_full_or_may_hold_no_programs(bundle, mounted, sentence, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(mounted))
    with pytest.raises(WorkFolderError, match=sentence):
        TritonServer(bundle).start()
    assert list(mounted.iterdir()) == []
