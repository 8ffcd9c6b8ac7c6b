"""What no schema sees: that the manifests agree with each other, with the image and with Triton."""

import json
import re
from itertools import chain
from pathlib import Path

import pytest
import yaml

from nextitem_server.cli import _parser
from nextitem_server.launch.command import check_options, stop_grace_s
from tests.support.deployments import (
    FOLDER,
    ROOT,
    SERVER,
    VARIANTS,
    all_containers,
    front,
    in_bytes,
    option,
    pod_spec,
    ports,
    rendered,
    server,
    the,
    values_of,
)
from tests.support.kustomize_subset import render

OUTSIDE = {"http": 8000, "grpc": 8001, "metrics": 8002}
HEALTH = {"startupProbe": "ready", "readinessProbe": "ready", "livenessProbe": "live"}


@pytest.fixture(params=VARIANTS)
def manifests(request, tmp_path):
    return rendered(request.param, tmp_path)


@pytest.fixture(params=[name for name in VARIANTS if name != "kserve"])
def deployed(request, tmp_path):
    """Those that have a Deployment."""
    return rendered(request.param, tmp_path)


@pytest.fixture
def labels(deployed):
    return the("Deployment", deployed)["spec"]["template"]["metadata"]["labels"]


def entrypoint():
    """The command of the image `server`, as a list, and the users that the images run as."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    command = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])", text, re.MULTILINE)[0])
    return command, set(re.findall(r"^USER (\d+):", text, re.MULTILINE))


def tritonserver_options(container):
    arguments = container["args"]
    return arguments[arguments.index("--") + 1 :] if "--" in arguments else []


# The containers


def test_probes_go_the_way_of_requests(manifests):
    container = server(manifests)
    for probe, what in HEALTH.items():
        asked = container[probe]["httpGet"]
        assert asked["path"] == f"/v2/health/{what}"
        assert asked["port"] == OUTSIDE["http"], "a port's name counts in its own container alone"


def test_nextitem_serve_gives_up_before_kubelet_does(manifests):
    probe = server(manifests)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > float(option(server(manifests), "--timeout-s"))


def test_ports_are_the_images(manifests):
    command, _ = entrypoint()
    for name, number in OUTSIDE.items():
        assert command[command.index(f"--{name}-port") + 1] == str(number)


def test_triton_is_reached_through_the_front_alone(manifests):
    """The server listens inside the pod, each of the front's ports leads to the server's, and the front has its files."""
    container = server(manifests)
    assert option(container, "--host") == "127.0.0.1"
    files = front_files(manifests)
    assert front(manifests)["args"] == ["haproxy", "-W", "-db", *chain.from_iterable(("-f", file) for file in files)]
    config = "".join(files.values())
    for name, number in OUTSIDE.items():
        assert re.search(
            rf"^frontend {name} from front\n(?:(?!frontend|backend).*\n)*? +bind :{number}\b", config, re.M
        )
        address = f"127.0.0.1:{option(container, f'--{name}-port')}"
        assert re.search(
            rf"^backend {name} from front\n +server triton {re.escape(address)}( proto h2)?$", config, re.M
        )
    assert set(re.findall(r"\bbind :(\d+)", config)) == {str(number) for number in OUTSIDE.values()}
    given = {each["name"] for each in front(manifests)["env"]}
    assert set(re.findall(r"\$\{(\w+)\}", config)) == given


def front_files(manifests):
    """What the front reads, by the path that it has there."""
    (mount,) = front(manifests)["volumeMounts"]
    assert mount["readOnly"] is True
    (volume,) = [each for each in pod_spec(manifests)["volumes"] if each["name"] == mount["name"]]
    config_map = the("ConfigMap", manifests, volume["configMap"]["name"])
    return {f"{mount['mountPath']}/{name}": text for name, text in config_map["data"].items()}


def test_rules_are_those_of_the_load_balancer(manifests):
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["load-balancer"]
    shared = {Path(mount.split(":")[0]).name for mount in compose["volumes"]} & {
        Path(file).name for file in front_files(manifests)
    }
    assert shared == {"front.cfg"}
    limit = re.fullmatch(r"\$\{LB_MAX_BODY_BYTES:-(\d+)\}", compose["environment"]["LB_MAX_BODY_BYTES"])[1]
    assert front(manifests)["env"] == [{"name": "LB_MAX_BODY_BYTES", "value": limit}]
    assert compose["image"] == f"${{HAPROXY_IMAGE:-{front(manifests)['image']}}}"


def test_the_front_outlives_the_server(manifests):
    """Its graceful end is bounded by hard-stop-after, in what is left of the grace period."""
    answers_s, front_s = (
        each["lifecycle"]["preStop"]["sleep"]["seconds"] for each in (server(manifests), front(manifests))
    )
    assert front_s > answers_s + stop_grace_s(tritonserver_options(server(manifests)))
    hard_stop_s = int(re.search(r"hard-stop-after (\d+)s", "".join(front_files(manifests).values()))[1])
    assert front_s + hard_stop_s < pod_spec(manifests)["terminationGracePeriodSeconds"]


def test_what_a_pod_adds_to_the_image_is_understood():
    """The image's own options come first, and of one that is given twice the last one counts."""
    command, _ = entrypoint()
    added = server(render(FOLDER / "overlays/cpu"))["args"]
    given = _parser().parse_args([*command[1:], *added])
    assert (given.host, given.http_port, given.grpc_port, given.metrics_port) == ("127.0.0.1", 9000, 9001, 9002)


def test_a_pod_has_the_time_to_answer_what_it_has_taken(manifests):
    container = server(manifests)
    check_options(tritonserver_options(container))
    until_stopped_s = container["lifecycle"]["preStop"]["sleep"]["seconds"] + stop_grace_s(
        tritonserver_options(container)
    )
    assert pod_spec(manifests)["terminationGracePeriodSeconds"] > until_stopped_s


def test_every_container_is_held_to_what_it_needs(manifests):
    _, users = entrypoint()
    for container in all_containers(manifests):
        context = pod_spec(manifests).get("securityContext", {}) | container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert {str(context["runAsUser"])} == users
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "privileged" not in context
    for key in ("hostPath", "hostNetwork", "hostPID", "hostIPC", "hostPort"):
        assert list(values_of(key, manifests)) == []


def test_no_pod_has_a_token_for_the_kubernetes_api(manifests):
    assert pod_spec(manifests)["automountServiceAccountToken"] is False
    for account in (each for each in manifests if each["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
        assert pod_spec(manifests)["serviceAccountName"] == account["metadata"]["name"]


def test_every_container_says_what_it_takes(manifests):
    for container in all_containers(manifests):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert in_bytes(resources["requests"]["memory"]) <= in_bytes(resources["limits"]["memory"])


def test_volumes_are_mounted_and_mounts_have_volumes(manifests):
    volumes = {volume["name"]: volume for volume in pod_spec(manifests)["volumes"]}
    mounts = [mount for container in all_containers(manifests) for mount in container["volumeMounts"]]
    assert {mount["name"] for mount in mounts} == volumes.keys()
    at = {mount["mountPath"]: volumes[mount["name"]] for mount in server(manifests)["volumeMounts"]}
    assert set(at["/tmp"]) == {"name", "emptyDir"}
    assert at["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert in_bytes("256Mi") < in_bytes(server(manifests)["resources"]["limits"]["memory"])


def test_the_server_reads_what_was_fetched_and_cannot_write_it(deployed):
    command, _ = entrypoint()
    repository = command[command.index("--model-repository") + 1]
    (mount,) = [each for each in server(deployed)["volumeMounts"] if each["mountPath"] == repository]
    assert mount["readOnly"] is True
    for fetcher in pod_spec(deployed).get("initContainers", []):
        assert repository in fetcher["args"]
        assert mount["name"] in [each["name"] for each in fetcher["volumeMounts"] if each["mountPath"] == repository]
        variables = {each["name"] for each in fetcher["env"]}
        assert set(re.findall(r"\$\((\w+)\)", " ".join(fetcher["args"]))) <= variables


def test_images_have_a_version(manifests):
    version = re.search(
        r'^version = "(.*)"', (ROOT / "server/pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )[1]
    for container in all_containers(manifests):
        name, _, tag = container["image"].rpartition(":")
        assert re.fullmatch(r"\d+\.\d+\.\d+(-alpine)?", tag), (
            f"{container['image']}: a version of three numbers is expected"
        )
        if "nextitem" in name:
            assert tag == version


@pytest.mark.parametrize(("overlay", "image"), [("cpu", "nextitem-server"), ("gpu", "nextitem-server-gpu")])
def test_each_overlay_has_its_image_and_the_gpus_it_needs(overlay, image, tmp_path):
    manifests = rendered(f"overlays/{overlay}", tmp_path)
    assert server(manifests)["image"].split(":")[0].split("/")[-1] == image
    gpus = {
        container["name"]: container["resources"]["limits"].get("nvidia.com/gpu")
        for container in all_containers(manifests)
    }
    tolerated = [each["key"] for each in pod_spec(manifests).get("tolerations", [])]
    if overlay == "gpu":
        assert gpus == {"fetch-bundles": None, SERVER: "1", "front": None}
        assert tolerated == ["nvidia.com/gpu"]
    else:
        assert set(gpus.values()) == {None}
        assert tolerated == []


def test_a_volume_takes_the_place_of_object_storage(tmp_path):
    manifests = rendered("overlays/cpu + pvc", tmp_path)
    assert not pod_spec(manifests).get("initContainers")
    (models,) = [each for each in pod_spec(manifests)["volumes"] if each["name"] == "models"]
    assert set(models) == {"name", "persistentVolumeClaim"}
    claim = the("PersistentVolumeClaim", manifests)
    assert models["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"], "readOnly": True}
    assert claim["spec"]["accessModes"] != ["ReadWriteOnce"]


# What finds the pods


def test_selectors_find_the_pods(deployed, labels):
    deployment = the("Deployment", deployed)["spec"]
    selectors = [each["spec"]["selector"] for each in deployed if each["kind"] == "Service"]
    selectors += [deployment["selector"]["matchLabels"]]
    selectors += [the("PodDisruptionBudget", deployed)["spec"]["selector"]["matchLabels"]]
    selectors += [the("NetworkPolicy", deployed)["spec"]["podSelector"]["matchLabels"]]
    constraints = pod_spec(deployed)["topologySpreadConstraints"]
    selectors += [each["labelSelector"]["matchLabels"] for each in constraints]
    assert len(selectors) == 2 + 3 + len(constraints)
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


def test_services_lead_to_ports_that_are_there(deployed):
    known = ports(front(deployed))
    assert known == OUTSIDE
    served = {}
    for service in (each for each in deployed if each["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in known
            assert port["port"] == known[port["targetPort"]]
            served[port["name"]] = service["spec"].get("clusterIP")
    assert served == {"http": None, "metrics": None, "grpc": "None"}


def test_the_network_policy_opens_every_port_and_metrics_to_prometheus_alone(deployed):
    rules = the("NetworkPolicy", deployed)["spec"]["ingress"]
    opened = [{port["port"] for port in rule["ports"]} for rule in rules]
    assert opened == [{"http", "grpc"}, {"metrics"}]
    assert set().union(*opened) == ports(front(deployed)).keys()
    assert all(rule["from"] for rule in rules)


def test_a_rollout_and_a_drain_leave_pods_that_answer(deployed):
    scaler = the("HorizontalPodAutoscaler", deployed)["spec"]
    assert "replicas" not in the("Deployment", deployed)["spec"]
    assert the("Deployment", deployed)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert (
        the("PodDisruptionBudget", deployed)["spec"]["maxUnavailable"] < scaler["minReplicas"] <= scaler["maxReplicas"]
    )


# KServe


def test_kserve_finds_the_runtime_and_the_runtime_the_bundles(tmp_path):
    manifests = rendered("kserve", tmp_path)
    model = the("InferenceService", manifests)["spec"]["predictor"]["model"]
    runtime = the("ServingRuntime", manifests)
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"] in runtime["spec"]["supportedModelFormats"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert server(manifests)["name"] == "kserve-container"
    assert option(server(manifests), "--model-repository") == "/mnt/models"
    command, _ = entrypoint()
    # Behind the image's own entry point its /models would be a second repository, which --wait-for-models waits for.
    assert server(manifests)["command"] == ["nextitem-serve"]
    assert [one for one in server(manifests)["args"] if "repository" in one] == ["--model-repository=/mnt/models"]
    # KServe's Service leads to the first port of this container, which is the front's, as both are of one pod.
    assert ports(server(manifests)) == {"http": OUTSIDE["http"]}
    annotations = runtime["spec"]["annotations"]
    assert annotations["prometheus.io/port"] == command[command.index("--metrics-port") + 1]


def test_kserves_containers_are_those_of_the_base(tmp_path):
    base, kserve = rendered("overlays/cpu", tmp_path), rendered("kserve", tmp_path)
    for key in ("image", "resources", "lifecycle", *HEALTH):
        assert server(base)[key] == server(kserve)[key], f"{key} differs; change both, or say here why"
    for key in ("image", "args", "env", "resources", "lifecycle", "volumeMounts"):
        assert front(base)[key] == front(kserve)[key], f"{key} differs; change both, or say here why"
    own = [arg for arg in server(kserve)["args"] if not arg.startswith("--model-repository=")]
    assert own == server(base)["args"]
