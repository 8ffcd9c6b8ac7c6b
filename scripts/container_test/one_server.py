"""The service `server`: an empty repository, the README's request, its rights, a process and a server that are killed."""

import json
import shutil
import time
from pathlib import Path

from .console import fail, say
from .project import Project, status_of, wait_for
from .readme import asked

_WAITING = "holds no model. Export a trained model into it: nextitem-export"
_BACK = "answers again after"
_LOOK_S = 6.0
_CONFINED = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines() if ":\\t" in line)
def writable(folder):
    try:
        open(folder + "/probe", "w").close()
        os.remove(folder + "/probe")
        return True
    except OSError:
        return False
folders = ["/", "/opt/nextitem", "/models", "/usr", "/etc", "/var", "/tmp"]
print(json.dumps({
    "user": os.getuid(),
    "capabilities": int(status["CapEff"].strip(), 16) | int(status["CapBnd"].strip(), 16),
    "no_new_privileges": int(status["NoNewPrivs"]),
    "writable": [folder for folder in folders if writable(folder)],
}))
"""
_KILL = """
import os, pathlib
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if (folder / "comm").read_text().strip() == "tritonserver":
        os.kill(int(folder.name), 9)
        print(folder.name)
"""

_KILL_PROCESS = """
import os, pathlib
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if "python_backend_stub" in (folder / "cmdline").read_text(errors="replace").split("\\0")[0]:
        os.kill(int(folder.name), 9)
        print(folder.name)
        break
"""


def check_empty_repository(project: Project, models: Path, served: Path) -> None:
    """`served` is empty: it says so once and waits; filled from `models`, it serves without another word."""
    project.up("server")
    (container,) = project.containers("server")
    wait_for("a message about the empty repository", lambda: _WAITING in project.logs(container), 30)
    time.sleep(_LOOK_S)
    state, restarts = project.state(container)
    if (state, restarts) != ("running", 0) or project.logs(container).count(_WAITING) != 1:
        fail(f"an empty repository: said once, then a wait was expected; it is {state} after {restarts} restarts.")
    if status_of(project.url("HTTP_PORT", "/v2/health/ready")) == 200:
        fail("an empty repository: nothing can be asked, and the server says that it is ready.")
    fill(models, served)
    took_s = project.wait_until_ready("server")
    say(f"an empty repository is waited for: said once; ready by itself {took_s:.1f} s after it was filled")


def fill(models: Path, served: Path, bundle: str | None = None) -> None:
    """Copy the models into the folder that is served; of a bundle its own alone, which spares three replicas the others."""
    names = [model.name for model in models.iterdir() if model.is_dir()]
    if bundle is not None:
        manifest = next((models / bundle).glob("*/bundle.json"))
        names = json.loads(manifest.read_text(encoding="utf-8"))["models"]
    for name in names:
        shutil.copytree(models / name, served / name)


def check_readme_request(project: Project, request: str) -> None:
    """A fresh start, and the answer that the README promises."""
    project.remove("server")
    started = time.monotonic()
    project.up("server")
    project.wait_until_ready("server")
    say(f"ready {time.monotonic() - started:.1f} s after `compose up`")
    item_ids = asked(request, project.ports["HTTP_PORT"])
    say(f"the README's request brought {len(item_ids)} raw item ids: {' '.join(item_ids[:5])} …")
    (container,) = project.containers("server")
    if project.engine.program == "podman" and not project.engine.is_healthy(container):
        fail("the container's health check fails although the server is ready.")


def check_confined(project: Project) -> None:
    """Not root, no capability, nothing to write to but /tmp; ports on 127.0.0.1; Triton's own controls closed."""
    (container,) = project.containers("server")
    found = json.loads(project.python_inside(container, _CONFINED) or "{}")
    wanted = {"user": 1000, "capabilities": 0, "no_new_privileges": 1, "writable": ["/tmp"]}
    if found != wanted:
        fail(f"the container may do something else than it should: {found}, expected {wanted}.")
    bound = project.engine.output("port", container).splitlines()
    if len(bound) != 3 or not all(line.split("-> ")[1].startswith("127.0.0.1:") for line in bound):
        fail(f"three ports on 127.0.0.1 were expected, and {bound} are bound.")
    for path in ("/v2/trace/setting", "/v2/logging", "/v2/systemsharedmemory/status"):
        if status_of(project.url("HTTP_PORT", path)) != 403:
            fail(f"{path} is open to clients; it should answer 403.")
    say(
        "runs as user 1000, read-only but /tmp, without capabilities, three ports on 127.0.0.1, Triton's controls closed"
    )


def check_killed_process(project: Project, request: str) -> None:
    """SIGKILL to a process of a model: another one takes its place, and the container runs on."""
    (container,) = project.containers("server")
    started = time.monotonic()
    if not project.python_inside(container, _KILL_PROCESS):
        fail("no process of a model runs in the container that could be killed.")
    wait_for("that the dead process is replaced", lambda: _BACK in project.logs(container), 30)
    say(f"after kill -9 of a model's process another one answered in {time.monotonic() - started:.1f} s")
    asked(request, project.ports["HTTP_PORT"])
    state, restarts = project.state(container)
    if (state, restarts) != ("running", 0):
        fail(f"a model's process was killed: the container was to run on; it is {state} after {restarts} restarts.")


def check_killed_server(project: Project, request: str) -> None:
    """SIGKILL to tritonserver: the container ends and is started again."""
    (container,) = project.containers("server")
    started = time.monotonic()
    if not project.python_inside(container, _KILL):
        fail("no tritonserver runs in the container that could be killed.")
    ready = project.url("HTTP_PORT", "/v2/health/ready")
    wait_for("that the killed server is gone", lambda: status_of(ready) != 200, 30)
    wait_for("that the killed server is back", lambda: status_of(ready) == 200)
    say(f"after kill -9 of tritonserver it was ready again in {time.monotonic() - started:.1f} s")
    asked(request, project.ports["HTTP_PORT"])
