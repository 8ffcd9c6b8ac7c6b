import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nextitem_server import EmptyRepository, RepositoryError
from nextitem_server.repository import LOOK_EVERY_S, check_repository, left_alone, wait_for_models


def test_lists_the_models(bundle):
    assert check_repository(bundle) == ["shop", "shop_features"]


def test_a_missing_and_an_empty_repository_say_how_to_export(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(RepositoryError, match=rf"{path} .*nextitem-export --run .*{path}"):
            check_repository(path)
    with pytest.raises(EmptyRepository):
        check_repository(tmp_path)
    assert check_repository(tmp_path, may_be_empty=True) == []


def test_a_file_and_a_model_are_no_repositories(bundle):
    with pytest.raises(RepositoryError, match="is a file"):
        check_repository(bundle / "shop" / "config.pbtxt")
    with pytest.raises(RepositoryError, match=rf"is a model, .* {bundle}"):
        check_repository(bundle / "shop")


def test_waiting_ends_when_a_model_is_there_and_rests(tmp_path, monkeypatch):
    looks = []

    def write_more(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            (tmp_path / "shop" / "1").mkdir(parents=True)
            (tmp_path / "shop" / "config.pbtxt").touch()
        if len(looks) in (3, 4):
            (tmp_path / "shop" / "1" / "model.onnx").write_bytes(b"x" * len(looks))

    monkeypatch.setattr("nextitem_server.repository.time.sleep", write_more)
    wait_for_models(tmp_path)
    assert looks == [LOOK_EVERY_S] * 5


def test_folders_that_are_no_models_are_left_alone_and_told(bundle):
    assert left_alone(bundle) is None
    (bundle / "notes" / "1").mkdir(parents=True)
    (bundle / ".git").mkdir()
    (bundle / "README.md").touch()
    (bundle / "odd" / "config.pbtxt").mkdir(parents=True)
    assert check_repository(bundle) == ["shop", "shop_features"]
    told = f"Left alone in {bundle}: notes (no config.pbtxt in it), odd (config.pbtxt is no file)."
    assert left_alone(bundle) == told
    with pytest.raises(
        EmptyRepository, match=r"holds no model\. Left alone in .*: 1 \(no config\.pbtxt in it\)\. Export"
    ):
        check_repository(bundle / "notes")


@pytest.mark.parametrize("name", ["a b", "a;b", "läden", "$(touch x)", "a'b"])
def test_a_model_whose_name_a_shell_would_read_is_refused(bundle, name):
    (bundle / "shop").rename(bundle / name)
    with pytest.raises(RepositoryError, match="has a name that Triton cannot start a model by; expected are letters"):
        check_repository(bundle)


def test_a_model_whose_configuration_triton_makes(tmp_path):
    (tmp_path / "made" / "1").mkdir(parents=True)
    (tmp_path / "made" / "1" / "model.onnx").touch()
    assert check_repository(tmp_path) == ["made"]
    assert left_alone(tmp_path) is None


LOOK = """
import os, sys
from pathlib import Path
from nextitem_server.repository import check_repository, left_alone
if os.getuid() == 0:  # root may read everything
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
repository = Path(sys.argv[1])
try:
    print(check_repository(repository), left_alone(repository))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_what_may_not_be_read_is_left_alone():
    """lost+found on every volume, and a bundle that somebody else copied."""
    with TemporaryDirectory() as folder:
        repository = Path(folder)
        repository.chmod(0o755)
        for name in ("shop", "hidden", "lost+found"):
            (repository / name).mkdir()
        for name in ("shop", "hidden"):
            (repository / name / "config.pbtxt").touch()
        (repository / "hidden" / "config.pbtxt").chmod(0)
        (repository / "lost+found").chmod(0)
        told = f"Left alone in {repository}: hidden (Permission denied), lost+found (Permission denied)."
        assert looked(repository) == f"['shop'] {told}"
        repository.chmod(0)
        assert looked(repository) == (
            f"RepositoryError The model repository {repository} cannot be read (Permission denied). Let the user who runs "
            "nextitem-serve read it."
        )
        repository.chmod(0o755)
        (repository / "lost+found").chmod(0o755)


def looked(repository: Path) -> str:
    done = subprocess.run([sys.executable, "-c", LOOK, repository], capture_output=True, text=True, check=True)
    return done.stdout.strip()
