"""The five packages as they would be published: metadata, wheels and source archives, their commands in empty environments."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support.repository_files import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGES = ("bundle", "training", "export", "server", "client")
COMMANDS = {
    "training": ("nextitem-train", "nextitem-import"),
    "export": ("nextitem-export", "nextitem-catalogue"),
    "server": ("nextitem-serve",),
    "client": ("nextitem-recommend",),
}
VERSION = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"


def project(package: str) -> dict:
    """What its pyproject.toml declares."""
    return tomllib.loads((ROOT / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def interpreters() -> dict[str, str]:
    """The Pythons of this machine on which the client is installed: the running one, and 3.9 and 3.13 where they are."""
    found = {RUNNING: sys.executable}
    for version in ("3.9", "3.13"):
        under_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        for candidate in filter(None, (shutil.which(f"python{version}"), *map(str, under_pyenv))):
            # A shim of pyenv is there for versions that are not.
            if subprocess.run([candidate, "-V"], capture_output=True, check=False).returncode == 0:
                found.setdefault(version, candidate)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_version_is_that_of_the_file(package):
    declared = project(package)
    ours = [Requirement(line) for line in declared["dependencies"] if line.startswith("nextitem-")]
    assert declared["version"] == VERSION, "run scripts/set-version"
    assert {str(requirement.specifier) for requirement in ours} <= {f"=={VERSION}"}, "run scripts/set-version"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_metadata_is_complete(package):
    declared = project(package)
    assert declared["license"] == "Apache-2.0"
    assert declared["readme"] == "README.md"
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} <= declared["urls"].keys()
    assert declared["keywords"]
    listed = {line.rpartition(" ")[2] for line in declared["classifiers"] if re.search(r":: 3\.\d+$", line)}
    allowed = SpecifierSet(declared["requires-python"])
    assert listed == {f"3.{minor}" for minor in range(9, 14) if f"3.{minor}" in allowed}
    if package in COMMANDS:
        assert (*declared["scripts"],) == COMMANDS[package]
        assert "completion" in declared["optional-dependencies"]


def test_a_new_version_is_written_wherever_it_stands(tmp_path):
    script = "scripts/set-version"
    places = ["VERSION", script, *(f"{package}/pyproject.toml" for package in PACKAGES)]
    places += [str(path.relative_to(ROOT)) for path in (ROOT / "deploy" / "kubernetes").rglob("*.yaml")]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place, tmp_path / place)
    call = [sys.executable, str(tmp_path / script)]
    assert run(*call) == "", "run scripts/set-version"
    written = run(*call, "7.8.9rc1").split()
    assert {"VERSION", "client/pyproject.toml", "deploy/kubernetes/kserve/kustomization.yaml"} <= {*written}
    assert (tmp_path / "VERSION").read_text() == "7.8.9rc1\n"
    left = [p for p in places if re.search(rf'(==|: |:|= "){re.escape(VERSION)}\b', (tmp_path / p).read_text())]
    assert left == []
    refused = subprocess.run([*call, "next"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "the version is 'next', expected three numbers" in refused.stderr


#: Without folders of Python's that are not the environment's own.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(*command: object, env: Mapping[str, str] = CLEAN) -> str:
    """What it prints; fails with what it said."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, cwd=ROOT / "docs", env=env
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """The folder that `make dist` makes, of copies: a build leaves files in its source folder."""
    folder = tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        source = folder / "sources" / package
        shutil.copytree(
            ROOT / package, source, ignore=shutil.ignore_patterns("*.egg-info", "build", "dist", "__pycache__")
        )
        build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist")
        run(*build, source, env=os.environ)
    return folder / "dist"


def wheel_of(dist: Path, package: str) -> Path:
    """Its wheel."""
    (wheel,) = dist.glob(f"nextitem_{package}-{VERSION}-*.whl")
    return wheel


def metadata_of(wheel: Path) -> Message:
    """The METADATA inside."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_holds_its_package_licence_and_metadata(dist, package):
    wheel = wheel_of(dist, package)
    found = metadata_of(wheel)
    assert found["License-Expression"] == "Apache-2.0"
    assert found.get_all("License-File") == ["LICENSE"]
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload().startswith(f"# nextitem-{package}\n")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.endswith(".py")}
        (licence,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        assert f"nextitem_{package}/py.typed" in archive.namelist()
    there = {str(path.relative_to(ROOT / package)) for path in (ROOT / package / f"nextitem_{package}").rglob("*.py")}
    assert held == there


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_a_source_archive_can_be_built_from(dist, package):
    with tarfile.open(dist / f"nextitem_{package}-{VERSION}.tar.gz") as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= members.keys()
    assert members["LICENSE"].isfile(), "a link leads nowhere outside the repository"


def installed(folder: Path, python: str, dist: Path, package: str) -> Path:
    """The bin folder of an environment with the package's wheel and what it declares, and nothing else."""
    run(python, "-m", "venv", folder / "environment")
    inside = folder / "environment" / "bin" / "python"
    run(inside, "-m", "pip", "install", "-q", "--find-links", dist, f"{package}=={VERSION}")
    run(inside, "-m", "pip", "check")
    return inside.parent


def answers(bin_folder: Path, command: str) -> None:
    """The command says its version and its options."""
    assert run(bin_folder / command, "--version") == f"{command} {VERSION}\n"
    printed = run(bin_folder / command, "--help")
    assert all(part in printed for part in ("--json", "--quiet", "exit codes:", "NEXTITEM_LOG"))


@pytest.mark.slow
@pytest.mark.parametrize("version", interpreters())
def test_the_client_installs_into_an_empty_environment(dist, version, tmp_path):
    bin_folder = installed(tmp_path, interpreters()[version], dist, "nextitem-client[bulk,completion]")
    answers(bin_folder, "nextitem-recommend")
    assert "--exclude-seen" in completions(bin_folder / "nextitem-recommend", tmp_path)
    run(bin_folder / "python", "-c", "from nextitem_client import Client, OfflineClient")


def completions(command: Path, folder: Path) -> list[str]:
    """What a shell is offered behind `--`, as argcomplete hands it over: in a file, one after another."""
    line = f"{command.name} --"
    settings = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    settings["_ARGCOMPLETE_STDOUT_FILENAME"] = str(folder / "completions")
    subprocess.run([command], env=settings, capture_output=True, check=True)
    return [word.strip() for word in (folder / "completions").read_text().splitlines()]


@pytest.mark.slow
def test_the_server_installs_into_an_empty_environment(dist, tmp_path):
    bin_folder = installed(tmp_path, sys.executable, dist, "nextitem-server[completion]")
    answers(bin_folder, "nextitem-serve")
    assert "--model-repository" in completions(bin_folder / "nextitem-serve", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # torch comes with its CUDA libraries
def test_training_and_export_install_into_an_empty_environment(dist, tmp_path):
    bin_folder = installed(tmp_path, sys.executable, dist, "nextitem-export")
    answers(bin_folder, "nextitem-train")
    answers(bin_folder, "nextitem-export")
