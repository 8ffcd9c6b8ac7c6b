"""Manifests against the official schemas, offline: Kubernetes' own from kubernetes-validate, others from schemas/."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import kubernetes_validate

from tests.support.kustomize_subset import Manifest

OLDEST = "1.30"  # the sleep action of preStop and the ContainerResource metric work from here on without a switch
NEWEST = kubernetes_validate.latest_version()
CUSTOM = {
    (schema["properties"]["apiVersion"]["const"], schema["properties"]["kind"]["const"]): schema
    for schema in (json.loads(path.read_text()) for path in (Path(__file__).parent / "schemas").glob("*.json"))
}
POD_FIELDS = {"automountServiceAccountToken", "containers", "terminationGracePeriodSeconds", "volumes"}


def validate(manifest: Manifest, version: str) -> None:
    """Raise jsonschema.ValidationError for what Kubernetes `version` would refuse, unknown fields included."""
    schema = CUSTOM.get((manifest["apiVersion"], manifest["kind"]))
    if schema is None:
        kubernetes_validate.validate(manifest, version, strict=True)
        return
    jsonschema.validate(manifest, schema)
    # A runtime's containers are a pod's, and Kubernetes says itself what those may be.
    if "containers" in manifest["spec"]:
        spec = {key: value for key, value in manifest["spec"].items() if key in POD_FIELDS}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        kubernetes_validate.validate(pod, version, strict=True)
