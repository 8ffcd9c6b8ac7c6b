"""The container engine that test-container uses: Docker with Compose, or podman with podman-compose.

For podman on a bare machine (no registry of images, no systemd, pip behind a mirror) it makes what
is missing, in temporary files and in the cache folder; nothing under /etc is touched, and of the
machine's pip settings nothing stays in an image.
"""

import ast
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .console import say

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
STAND_IN = "localhost/nextitem-python-slim"
TOOLS_STAND_IN = "localhost/nextitem-debian-tools"
TOOLS = ("haproxy", "prometheus")
PODMAN_COMPOSE = "podman-compose==1.6.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nextitem"

# Without systemd podman has neither its cgroup manager nor, often, the limits that it asks for.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
PIP_SETTINGS = {"index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert"}


class Engine:
    """`program` runs containers, `compose` is the command for projects; both with `environment`."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.environment = dict(os.environ)
        self._folder = folder
        if program == "docker":
            self.compose = ["docker", "compose"]
            return
        if not Path("/run/systemd/system").exists() and shutil.which("runc"):
            (folder / "containers.conf").write_text(CONTAINERS_CONF)
            self.environment["CONTAINERS_CONF"] = str(folder / "containers.conf")
        # The docker format, because OCI's has no health check.
        build = ["--format=docker", "--network=host", *_build_volumes(folder)]
        self.compose = [
            str(_podman_compose()),
            "--in-pod=false",
            f"--podman-build-args={' '.join(build)}",
        ]

    def output(self, *arguments: str) -> str:
        """What `program` prints; empty where it fails."""
        done = subprocess.run(
            [self.program, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            text=True,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def base_image(self) -> str:
        """SERVER_BASE, or Python's image, or its stand-in where that cannot be pulled."""
        given = os.environ.get("SERVER_BASE")
        if given or self.program == "docker":
            return given or BASE
        for image in (BASE, STAND_IN):
            if self.output("images", "--quiet", image):
                return image
        if self.output("pull", "--quiet", BASE):
            return BASE
        say(f"{BASE} cannot be pulled here: making a stand-in with debootstrap")
        self._make_stand_in(STAND_IN)
        return STAND_IN

    def tool_images(self, base: str) -> dict[str, str]:
        """Variables of docker-compose.yml for other projects' images: stand-ins where `base` is one, too."""
        if base != STAND_IN:
            return {}
        if not self.output("images", "--quiet", TOOLS_STAND_IN):
            say(f"making a stand-in for other projects' images from Debian's packages {', '.join(TOOLS)}")
            self._make_stand_in(TOOLS_STAND_IN, *TOOLS)
        names = [f"{tool.upper()}_IMAGE" for tool in TOOLS]
        return {name: os.environ.get(name, TOOLS_STAND_IN) for name in names}

    def _make_stand_in(self, image: str, *packages: str) -> None:
        subprocess.run([ROOT / "scripts/stand-in-base", image, *packages], env=self.environment, check=True)

    def is_healthy(self, container: str) -> bool:
        """Whether the container's own health check passes; without systemd only on demand."""
        if self.program == "podman":
            command = [self.program, "healthcheck", "run", container]
            return subprocess.run(command, env=self.environment, check=False).returncode == 0
        return self.output("inspect", "--format={{.State.Health.Status}}", container) == "healthy"


def find_engine(folder: Path) -> Engine:
    """The first engine that works; `folder` takes temporary files. Exits with what is missing."""
    for program, probe in (("docker", ["compose", "version"]), ("podman", ["--version"])):
        if shutil.which(program) and _works(program, *probe) and _works(program, "info"):
            return Engine(program, folder)
    sys.exit(
        "test-container: no container engine works here. Install Docker with its Compose plugin, "
        "or podman (Debian: apt-get install podman buildah runc netavark aardvark-dns iptables "
        "debootstrap uidmap)."
    )


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _podman_compose() -> Path:
    """podman-compose in an environment of its own: it is no part of ours."""
    folder = CACHE / PODMAN_COMPOSE.replace("==", "-")
    program = folder / "bin/podman-compose"
    if not program.exists():
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([folder / "bin/pip", "install", "-qq", PODMAN_COMPOSE], check=True)
    return program


def _build_volumes(folder: Path) -> list[str]:
    """Options of `podman build` that let pip inside find what pip finds outside."""
    settings = _pip_settings()
    certificates = settings.pop("cert", os.environ.get("SSL_CERT_FILE", ""))
    written = folder / "pip.conf"
    written.touch(mode=0o600)  # an index's address may hold a password
    lines = [f"{name} = {'  '.join(value.split())}\n" for name, value in settings.items()]
    written.write_text("[global]\n" + "".join(lines))
    mounts = {str(written): "/etc/pip.conf"}
    if certificates and Path(certificates).is_file():
        mounts[certificates] = "/etc/ssl/certs/ca-certificates.crt"
        with written.open("a") as file:
            file.write("cert = /etc/ssl/certs/ca-certificates.crt\n")
    for word in " ".join(settings.values()).split():
        place = Path(word.removeprefix("file://"))
        # The pages of a local index, .../simple, link to files beside it.
        place = place.parent if place.name == "simple" else place
        if place.is_absolute() and place.is_dir():
            mounts[str(place)] = str(place)
    return [f"--volume={source}:{target}:ro" for source, target in mounts.items()]


def _pip_settings() -> dict[str, str]:
    """What pip is configured to, by name; variables win over files, as in pip itself."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, text=True, check=True
    )
    settings: dict[str, str] = {}
    for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        name = name.rsplit(".", 1)[-1]
        if name in PIP_SETTINGS:
            settings[name] = str(ast.literal_eval(value))
    return settings
