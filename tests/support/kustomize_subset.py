"""The part of kustomize that deploy/ uses: resources, components, ConfigMaps, strategic merge patches from files, images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

# Of configurations, which say in what other kinds a ConfigMap is named: here its name is replaced wherever it stands.
FIELDS = {"apiVersion", "kind", "resources", "components", "configMapGenerator", "configurations", "patches", "images"}
# Lists of a pod's parts are merged element by element, which this field tells apart; other lists are replaced.
MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}


def render(folder: Path) -> list[Manifest]:
    """What `kubectl kustomize folder` prints; raises ValueError for what this subset does not know."""
    objects = _built(folder, [])
    for each in objects:
        if each.get("kind") == "ConfigMap" and each.pop("hashed", False):
            name = each["metadata"]["name"]
            each["metadata"]["name"] = f"{name}-{_checksum(each)}"
            objects = [_with_config_map(one, name, each["metadata"]["name"]) for one in objects]
    return objects


def documents(path: Path) -> list[Manifest]:
    """The YAML documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def _built(folder: Path, objects: list[Manifest]) -> list[Manifest]:
    """`objects`, with what the kustomization in `folder` adds and changes, in kustomize's order."""
    (plan,) = documents(folder / "kustomization.yaml")
    unknown = plan.keys() - FIELDS
    if unknown:
        raise ValueError(f"{folder}/kustomization.yaml: {sorted(unknown)} is not among {sorted(FIELDS)}; add it here.")
    for name in plan.get("resources", []):
        path = folder / name
        objects = objects + (_built(path, []) if path.is_dir() else documents(path))
    for name in plan.get("components", []):
        objects = _built(folder / name, objects)
    objects = objects + [_config_map(folder, each) for each in plan.get("configMapGenerator", [])]
    for patch in plan.get("patches", []):
        if patch.keys() != {"path"}:
            raise ValueError(f"{folder}/kustomization.yaml: a patch has a path and nothing else, not {patch}.")
        for document in documents(folder / patch["path"]):
            objects = _patched(objects, document)
    for image in plan.get("images", []):
        objects = [_with_image(each, image) for each in objects]
    return objects


def identity(manifest: Manifest) -> tuple[str, str, str]:
    """What a patch finds its object by."""
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def _config_map(folder: Path, generator: Manifest) -> Manifest:
    """A ConfigMap of files, whose name gets its checksum once all is rendered."""
    unknown = {*generator.keys() - {"name", "files", "options"}, *generator.get("options", {}).keys() - {"labels"}}
    if unknown:
        raise ValueError(f"{folder}/kustomization.yaml: a ConfigMap has name, files and labels, not {sorted(unknown)}.")
    metadata = {"name": generator["name"], **generator.get("options", {})}
    data = {name: (folder / name).read_text(encoding="utf-8") for name in generator["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "hashed": True}


def _checksum(config_map: Manifest) -> str:
    """kustomize's: of its JSON without the name, in digits that make no word."""
    text = json.dumps(
        {"data": config_map["data"], "kind": "ConfigMap", "name": ""}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))


def _with_config_map(node: Any, name: str, full_name: str) -> Any:
    """`node` with the name of its volumes' ConfigMap replaced, wherever in it they are."""
    if isinstance(node, list):
        return [_with_config_map(each, name, full_name) for each in node]
    if not isinstance(node, dict):
        return node
    result = {key: _with_config_map(value, name, full_name) for key, value in node.items()}
    if result.get("configMap") == {"name": name}:
        result["configMap"] = {"name": full_name}
    return result


def _patched(objects: list[Manifest], patch: Manifest) -> list[Manifest]:
    found = [each for each in objects if identity(each) == identity(patch)]
    if len(found) != 1:
        raise ValueError(f"A patch needs one object, and {len(found)} are {identity(patch)}.")
    if patch.get("$patch") == "delete":
        return [each for each in objects if each is not found[0]]
    return [merged(each, patch) if each is found[0] else each for each in objects]


def merged(old: Manifest, patch: Manifest) -> Manifest:
    """`patch` laid over `old`: maps key by key, null takes a key away, lists as MERGE_KEYS says."""
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key, {}), value)
        elif isinstance(value, list) and key in MERGE_KEYS:
            result[key] = _merged_list(result.get(key, []), value, MERGE_KEYS[key])
        else:
            result[key] = value
    return result


def _merged_list(old: list[Manifest], patches: list[Manifest], by: str) -> list[Manifest]:
    result = {each[by]: each for each in old}
    for patch in patches:
        if patch.get("$patch") == "delete":
            result.pop(patch[by], None)
        else:
            result[patch[by]] = merged(result.get(patch[by], {}), patch)
    return list(result.values())


def _with_image(node: Any, image: dict[str, str]) -> Any:
    """`node` with the images of its containers renamed, wherever in it they are."""
    if isinstance(node, list):
        return [_with_image(each, image) for each in node]
    if not isinstance(node, dict):
        return node
    result = {key: _with_image(value, image) for key, value in node.items()}
    for key in ("containers", "initContainers"):
        for container in result.get(key, []):
            name, _, tag = container.get("image", "").partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    return result
