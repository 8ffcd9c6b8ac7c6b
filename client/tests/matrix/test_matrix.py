"""The client's tests in environments of their own, against a real Triton started here.

Each environment holds the client, what it depends on, and pytest: no server, no training. Slow:
pip fetches packages. Pythons that are not on this machine are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2]
BUNDLE = CLIENT.parent / "bundle" / "nextitem_bundle"
CLIENTS = {BUNDLE / "runtime" / "signature.py", BUNDLE / "runtime" / "wire.py"}
TESTS = ["pytest", "pytest-timeout", "hypothesis"]
OLDEST = ["tritonclient[http,grpc]==2.51.0", "numpy<2", "pandas<2.3", "pyarrow<20"]
NEWEST = ["tritonclient[http,grpc]", "numpy>=2", "pandas", "pyarrow"]

pytestmark = pytest.mark.slow


def find_python(version: str) -> str | None:
    """An interpreter of this version: the running one, on PATH, or under pyenv."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for candidate in (shutil.which(f"python{version}"), *map(str, pyenv)):
        # A shim of pyenv is there for versions that are not.
        if candidate and subprocess.run([candidate, "-V"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


@pytest.fixture(scope="module")
def servers(many, alone, secure, mutual, certificates) -> str:
    """What conftest.py reads."""
    urls = {
        name: {kind: getattr(server, kind) for kind in ("http_url", "grpc_url", "metrics_url")}
        for name, server in (("many", many), ("alone", alone), ("secure", secure), ("mutual", mutual))
    }
    return json.dumps({**urls, "certificates": {"folder": str(certificates)}})


def make_environment(folder: Path, version: str, packages: list[str]) -> Path:
    """Its Python, with `packages` and the client."""
    python = find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    run(python, "-m", "venv", folder)
    inside = folder / "bin" / "python"
    run(inside, "-m", "pip", "install", "-q", *packages, *TESTS)
    # A copy: pip builds in the source folder. No dependencies: they are the point of the matrix.
    for package in (CLIENT.parent / "bundle", CLIENT):
        copy = folder / package.name
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("tests", "*.egg-info", "build", ".*"))
        run(inside, "-m", "pip", "install", "-q", "--no-deps", copy)
    run(inside, "-m", "pip", "check")
    return inside


def run(*command: object, **options) -> str:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.parametrize(
    ("version", "packages"),
    [
        pytest.param("3.9", OLDEST, id="3.9-numpy1-tritonclient2.51"),
        pytest.param("3.9", NEWEST, id="3.9-newest"),
        pytest.param("3.10", NEWEST, id="3.10-newest"),
        pytest.param("3.11", OLDEST, id="3.11-numpy1-tritonclient2.51"),
        pytest.param("3.11", NEWEST, id="3.11-newest"),
        pytest.param("3.12", NEWEST, id="3.12-newest"),
        pytest.param("3.13", NEWEST, id="3.13-newest"),
    ],
)
def test_the_clients_tests_pass(tmp_path: Path, servers: str, version: str, packages: list[str]) -> None:
    python = make_environment(tmp_path / "environment", version, packages)
    shutil.copytree(
        CLIENT / "tests", tmp_path / "client" / "tests", ignore=shutil.ignore_patterns("matrix", "__pycache__")
    )
    shutil.copy(CLIENT / "README.md", tmp_path / "client" / "README.md")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = -ra --import-mode=importlib\npythonpath = .\ntimeout = 300\nmarkers = slow\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["NEXTITEM_CLIENT_TEST_SERVERS"] = servers
    told = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "client/tests", cwd=tmp_path, env=environment)
    installed = run(python, "-m", "pip", "list", "--format=freeze")
    versions = re.findall(r"(?m)^(?:tritonclient|numpy|grpcio|aiohttp|pandas)==.*", installed)
    print(f"Python {version}, {', '.join(versions)}: {told.strip().splitlines()[-1]}")
    assert int(re.search(r"(\d+) passed", told).group(1)) > 300
    skipped = re.search(r"(\d+) skipped", told)
    assert skipped is None or int(skipped.group(1)) <= 4, told[-3000:]  # what starts a server of its own


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_types_hold_in_every_python(tmp_path: Path, version: str) -> None:
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps(
            {
                "include": [str(CLIENT / "nextitem_client"), str(BUNDLE)],
                # A bundle's steps take Python 3.10, in Triton and in OfflineClient; of these modules clients import two.
                "ignore": [] if version != "3.9" else sorted(map(str, {*(BUNDLE / "runtime").rglob("*.py")} - CLIENTS)),
                "typeCheckingMode": "strict",
                "pythonVersion": version,
            }
        )
    )
    run(sys.executable, "-m", "pyright", "-p", tmp_path, "--pythonpath", sys.executable)


USE = """
from typing import Optional
from nextitem_client import AsyncClient, Client, Recommendation, Recommendations, Tls
from nextitem_client.testing import FakeServer

def ask(client: Client) -> Optional[str]:
    many: Recommendations = client.recommend_many([[{"item_id": "a"}]], exclude=[["a"], None])
    one: Recommendation = client.recommend({"item_id": ["a"]}, allow={"b"}, exclude_seen=True)
    return one.request_id if many else None

async def ask_async() -> "list[Recommendation]":
    async with AsyncClient("https://x", tls=Tls(ca_file="ca.crt")) as client:
        return await client.recommend_many([])

reveal_type(ask(FakeServer(["a"]).client()))
client: Client = 5
"""


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_a_users_program_sees_the_types(tmp_path: Path, version: str) -> None:
    """As installed, by mypy (which no longer checks for 3.9)."""
    python = make_environment(tmp_path / "environment", "3.11", [*NEWEST, "mypy"])
    (tmp_path / "use.py").write_text(USE)
    command = [str(python), "-m", "mypy", "--strict", "--python-version", version, "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, done.stdout
    assert "Incompatible types in assignment" in errors[0]
    assert 'Revealed type is "str | None"' in done.stdout.replace("builtins.", "").replace(
        "Union[str, None]", "str | None"
    )
