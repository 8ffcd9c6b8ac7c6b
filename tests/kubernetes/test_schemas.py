"""Every manifest against the official schema of its kind, for the oldest and the newest Kubernetes."""

import copy

import jsonschema
import pytest

from tests.support.deployments import FOLDER, VARIANTS, rendered, the
from tests.support.kustomize_subset import documents, render
from tests.support.manifest_schemas import NEWEST, OLDEST, validate


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("variant", VARIANTS)
def test_manifests_are_valid(variant, version, tmp_path):
    manifests = rendered(variant, tmp_path)
    assert manifests
    for manifest in manifests:
        validate(manifest, version)


@pytest.mark.parametrize(
    ("folder", "kind", "path", "value"),
    [
        ("overlays/cpu", "Deployment", ["spec", "template", "spec", "containers", 0, "readOnlyRootFilesystem"], True),
        ("overlays/cpu", "Deployment", ["spec", "template", "spec", "containers", 1, "ports", 0, "containerPort"], "x"),
        ("overlays/cpu", "HorizontalPodAutoscaler", ["spec", "metrics", 0, "pods", "target", "averagevalue"], "1"),
        ("overlays/cpu", "PodDisruptionBudget", ["spec", "maxUnavailable"], {}),
        ("overlays/cpu", "ServiceMonitor", ["spec", "endpoints", 0, "interval"], "15 s"),
        ("overlays/cpu", "ServiceMonitor", ["spec", "endpoints", 0, "portName"], "metrics"),
        ("kserve", "InferenceService", ["spec", "predictor", "scaleMetric"], "queue"),
        ("kserve", "InferenceService", ["spec", "predictor", "model", "storageURI"], "s3://x/y"),
        ("kserve", "ServingRuntime", ["spec", "protocolVersions"], ["v3"]),
        ("kserve", "ServingRuntime", ["spec", "containers", 0, "securityContext", "runAsUser"], "1000"),
        ("kserve", "ServingRuntime", ["spec", "volumes", 0, "emptydir"], {}),
    ],
)
def test_a_wrong_field_is_found(folder, kind, path, value):
    manifest = copy.deepcopy(the(kind, render(FOLDER / folder)))
    validate(manifest, NEWEST)
    node = manifest
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(manifest, NEWEST)


def test_every_file_belongs_to_a_kustomization():
    named = {FOLDER / "prometheus-adapter-rule.yaml"}  # the adapter's configuration, no object
    for plan in FOLDER.rglob("kustomization.yaml"):
        (content,) = documents(plan)
        named |= {plan, *(plan.parent / name for name in content.get("resources", []))}
        named |= {plan.parent / patch["path"] for patch in content.get("patches", [])}
        named |= {plan.parent / name for name in content.get("configurations", [])}
    assert {path for path in FOLDER.rglob("*.yaml") if path not in named} == set()
