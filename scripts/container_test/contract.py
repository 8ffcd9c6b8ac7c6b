"""serving_tests against the composed server: the contract, over the published ports, as another machine would ask it.

Left out are tests that start a server of their own or look at its processes and files, which say nothing about this one, and
those of bundles that the image cannot serve: TorchScript's and NVTabular's, unless it is built with WITH_TORCH=1 and
WITH_NVTABULAR=1.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from .console import fail, say
from .engine import ROOT
from .project import Project

#: Six minutes on two free cores; beside others' trainings each request waits for a core some twenty times as long.
TIMEOUT_S = 3600


def bundles() -> list[str]:
    """The bundles of serving_tests that this image can serve: those of what it was built with."""
    names = ["shop", "shop_fused"]
    if os.environ.get("WITH_TORCH") == "1":
        names += ["shop_torchscript", "shop_fused_torchscript"]
    if os.environ.get("WITH_NVTABULAR") == "1":
        names += ["shop_nvtabular"]
    return names


def make_served(folder: Path) -> Path:
    """Train and export what serving_tests ask, unless it is there; returns the repository, which has the README's model too."""
    repository = folder / "repository"
    if repository.exists():
        say(f"taking the models in {repository}")
        return repository
    names = bundles()
    say(f"training for an epoch and exporting {', '.join(names)} and warehouse")
    targets = [f"repository/{name}" for name in (*names, "warehouse")]
    command = [sys.executable, "-m", "serving_tests.support.made", "--into", str(folder), *targets]
    done = subprocess.run(command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)
    if done.returncode:
        fail(f"serving_tests.support.made failed with exit status {done.returncode}.")
    return repository


def check_contract(project: Project, folder: Path) -> None:
    """Those of serving_tests that need nothing of the server but its URLs, for the bundles in `folder`."""
    told = {
        "folder": str(folder),
        "http_url": project.url("HTTP_PORT"),
        "grpc_url": project.url("GRPC_PORT").replace("http:", "grpc:"),
        "metrics_url": project.url("METRICS_PORT", "/metrics"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "serving_tests"]
    environment = {**os.environ, "NEXTITEM_SERVED": json.dumps(told)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout)
        fail("serving_tests failed against the composed server.")
    say(f"serving_tests against the composed server: {done.stdout.strip().splitlines()[-1]}")
