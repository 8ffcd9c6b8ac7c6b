"""The subset of kustomize that the other tests render with, against kustomize where there is one."""

import shutil
import subprocess

import pytest
import yaml

from tests.support.deployments import FOLDER, OVERLAYS, with_component
from tests.support.kustomize_subset import MERGE_KEYS, identity, merged, render


def sorted_lists(node):
    """The same, but where elements are told apart by a field, their order does not matter."""
    if isinstance(node, list):
        return [sorted_lists(each) for each in node]
    if not isinstance(node, dict):
        return node
    result = {key: sorted_lists(value) for key, value in node.items() if value != []}
    for key, by in MERGE_KEYS.items():
        if key in result and all(by in each for each in result[key]):
            result[key] = sorted(result[key], key=lambda each: str(each[by]))
    return result


@pytest.fixture(scope="module")
def kubectl():
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl here, whose kustomize the subset could be compared with")
    return program


@pytest.mark.parametrize(
    ("folder", "component"),
    [
        *((overlay, component) for overlay in OVERLAYS for component in (None, "pvc", "without-prometheus")),
        ("kserve", None),
    ],
)
def test_the_subset_renders_what_kustomize_renders(kubectl, folder, component, tmp_path):
    folder = FOLDER / folder
    if component is not None:
        folder = with_component(folder, component, tmp_path)
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
    expected = {identity(each): sorted_lists(each) for each in yaml.safe_load_all(done.stdout)}
    assert {identity(each): sorted_lists(each) for each in render(folder)} == expected


def test_maps_are_merged_and_null_takes_a_key_away():
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": None, "e": 4}}) == {"a": {"b": 1, "e": 4}, "d": 3}


def test_parts_of_a_pod_are_merged_by_name_and_other_lists_replaced():
    old = {"containers": [{"name": "a", "args": ["x"]}, {"name": "b"}, {"name": "c"}]}
    patch = {"containers": [{"name": "b", "$patch": "delete"}, {"name": "a", "args": ["y"]}, {"name": "d"}]}
    assert merged(old, patch) == {"containers": [{"name": "a", "args": ["y"]}, {"name": "c"}, {"name": "d"}]}


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        ({"namePrefix": "x-"}, "namePrefix"),
        ({"patches": [{"path": "p.yaml", "target": {"kind": "Service"}}]}, "a patch has a path and nothing else"),
        ({"configMapGenerator": [{"name": "x", "literals": ["a=b"]}]}, "a ConfigMap has name, files and labels"),
        ({"patches": [{"path": "p.yaml"}]}, "A patch needs one object, and 0 are"),
    ],
)
def test_what_the_subset_does_not_know_is_refused(plan, what, tmp_path):
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(plan))
    (tmp_path / "p.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: x}}")
    with pytest.raises(ValueError, match=what):
        render(tmp_path)
