"""deploy/kubernetes/, rendered, and the questions that its tests ask of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.kustomize_subset import Manifest, render

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ["overlays/cpu", "overlays/gpu"]
VARIANTS = [*OVERLAYS, "overlays/cpu + pvc", "overlays/gpu + pvc", "overlays/cpu + without-prometheus", "kserve"]
SERVER = "server"


def rendered(name: str, folder: Path) -> list[Manifest]:
    """An overlay, or (`overlay + component`) the overlay as its comments offer it, written into `folder`."""
    overlay, _, component = name.partition(" + ")
    if not component:
        return render(FOLDER / overlay)
    return render(with_component(FOLDER / overlay, component, folder))


def with_component(overlay: Path, component: str, folder: Path) -> Path:
    """A copy of the overlay in `folder`, changed as the README says: the component in, and the patch out that it replaces."""
    plan = yaml.safe_load((overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    plan["resources"] = [os.path.relpath(FOLDER / "base", folder)]
    plan["components"] = [os.path.relpath(FOLDER / "components" / component, folder)]
    if component == "pvc":
        plan["patches"] = [patch for patch in plan["patches"] if patch["path"] != "bundles.yaml"]
    for patch in plan["patches"]:
        (folder / patch["path"]).write_text((overlay / patch["path"]).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    return folder


def the(kind: str, manifests: list[Manifest], name: str | None = None) -> Manifest:
    """The one object of a kind (and name)."""
    found = [x for x in manifests if x["kind"] == kind and name in (None, x["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod_spec(manifests: list[Manifest]) -> Manifest:
    """What a pod is made of: of the Deployment, or of KServe's runtime with what its service adds."""
    if any(each["kind"] == "Deployment" for each in manifests):
        return the("Deployment", manifests)["spec"]["template"]["spec"]
    return the("InferenceService", manifests)["spec"]["predictor"] | the("ServingRuntime", manifests)["spec"]


def server(manifests: list[Manifest]) -> Manifest:
    """The container that Triton runs in."""
    return pod_spec(manifests)["containers"][0]


def front(manifests: list[Manifest]) -> Manifest:
    """The container that is reached from outside, in front of the server."""
    (found,) = [each for each in pod_spec(manifests)["containers"] if each["name"] == "front"]
    return found


def all_containers(manifests: list[Manifest]) -> list[Manifest]:
    """With those that run before the others."""
    spec = pod_spec(manifests)
    return [*spec.get("initContainers", []), *spec["containers"]]


def ports(container: Manifest) -> dict[str, int]:
    """Number by name."""
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def option(container: Manifest, name: str) -> str:
    """The value of `name=value` among the container's arguments."""
    (value,) = [arg.removeprefix(f"{name}=") for arg in container["args"] if arg.startswith(f"{name}=")]
    return value


def in_bytes(quantity: str) -> int:
    """A quantity of memory with a binary suffix."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


def values_of(key: str, node: Any) -> Iterator[Any]:
    """Every value that stands under `key`, at any depth."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values_of(key, value)
    elif isinstance(node, list):
        for each in node:
            yield from values_of(key, each)
