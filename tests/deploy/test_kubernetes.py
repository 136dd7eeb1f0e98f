"""The files of deploy/kubernetes: by the schemas of Kubernetes, as kustomize renders them, and against the server."""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from server_options import options, seconds

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.rglob("*.yaml"))
# The oldest Kubernetes that README.md names, and the newest that the schemas know.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]
# Kinds that come with extensions of a cluster, so that Kubernetes has no schema for them.
EXTENSIONS = {"InferencePool", "PodMonitor"}
OVERLAYS = ["cpu", "cuda"]
WITH_POOL = [(overlay, pool) for overlay in OVERLAYS for pool in (False, True)]


# ---- Reading ----


def load(name):
    """The one document of a file."""
    return yaml.safe_load((FOLDER / name).read_text())


def patches():
    """The files that a kustomization lists as patches: parts of manifests."""
    for file in FOLDER.rglob("kustomization.yaml"):
        for patch in yaml.safe_load(file.read_text()).get("patches", []):
            yield file.parent / patch["path"]


def is_manifest(path):
    """True for objects of a cluster; false for what kustomize and Helm read."""
    return path.name != "kustomization.yaml" and not path.name.endswith("values.yaml") and path not in set(patches())


MANIFESTS = {path: yaml.safe_load(path.read_text())["kind"] for path in FILES if is_manifest(path)}


def name_of(path):
    return str(path.relative_to(FOLDER))


def kustomize():
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return command
    return None


needs_kustomize = pytest.mark.skipif(kustomize() is None, reason="neither kustomize nor kubectl here, and no registry has a package of them")


@pytest.fixture
def rendered(tmp_path):
    """Renders an overlay, with the lines for the inference pool as in the repository or with their comment signs removed."""

    def render(overlay, pool=False):
        copy = tmp_path / f"{overlay}-{pool}"
        shutil.copytree(FOLDER, copy)
        file = copy / "overlays" / overlay / "kustomization.yaml"
        if pool:
            text = re.sub(r"^#(components:|  - )", r"\1", file.read_text(), flags=re.MULTILINE)
            assert "\ncomponents:" in text
            file.write_text(text)
        done = subprocess.run([*kustomize(), file.parent], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return list(yaml.safe_load_all(done.stdout))

    return render


def one(documents, kind):
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def container(deployment):
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


def environment(deployment):
    return {entry["name"]: entry["value"] for entry in container(deployment)["env"]}


def check_schema(document, version):
    kubernetes_validate.validate(document, version, strict=True)


# ---- Schemas ----


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", [path for path, kind in MANIFESTS.items() if kind not in EXTENSIONS], ids=name_of)
def test_a_manifest_is_valid_by_the_schemas_of_kubernetes(path, version):
    check_schema(yaml.safe_load(path.read_text()), version)


@pytest.mark.parametrize("path", [path for path, kind in MANIFESTS.items() if kind in EXTENSIONS], ids=name_of)
def test_a_manifest_of_an_extension_is_valid(path):
    pytest.skip(f"{name_of(path)}: {MANIFESTS[path]} belongs to an extension, and no package has its schema")


def test_the_schemas_are_strict():
    service = load("base/service.yaml")
    service["spec"]["ports"][0]["prot"] = 1

    with pytest.raises(kubernetes_validate.ValidationError):
        check_schema(service, VERSIONS[0])


@needs_kustomize
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("overlay", "pool"), WITH_POOL)
def test_what_kustomize_renders_is_valid(rendered, overlay, pool, version):
    documents = rendered(overlay, pool)

    kinds = {document["kind"] for document in documents}
    assert ("InferencePool" in kinds) == pool and "Secret" not in kinds
    assert {document["metadata"]["namespace"] for document in documents} == {"llamero"}
    for document in documents:
        if document["kind"] not in EXTENSIONS:
            check_schema(document, version)


def test_every_file_that_a_kustomization_names_is_there():
    for file in FOLDER.rglob("kustomization.yaml"):
        contents = yaml.safe_load(re.sub(r"^#(components:|  - )", r"\1", file.read_text(), flags=re.MULTILINE))
        named = contents["resources"] + contents.get("components", []) + [patch["path"] for patch in contents.get("patches", [])]
        for name in named:
            path = file.parent / name
            assert path.is_file() or (path / "kustomization.yaml").is_file(), f"{file}: {name}"


def test_every_manifest_is_applied_by_something():
    named = {file.parent / name for file in FOLDER.rglob("kustomization.yaml") for name in yaml.safe_load(file.read_text())["resources"]}
    by_hand = {FOLDER / "base/secret.example.yaml", FOLDER / "monitoring/podmonitor.yaml"}

    assert set(MANIFESTS) == {path for path in named if path.is_file()} | by_hand


# ---- The server ----


def test_probes_ask_the_paths_and_the_port_of_the_server():
    deployment = load("base/deployment.yaml")
    routes = set(re.findall(r'path: "(/[a-z]+)"', (ROOT / "src/api/routes.rs").read_text()))
    (port,) = container(deployment)["ports"]

    paths = {}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container(deployment)[probe]["httpGet"]
        assert asked["port"] == port["name"] == "http"
        paths[probe] = asked["path"]
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert {*paths.values(), load("monitoring/podmonitor.yaml")["spec"]["podMetricsEndpoints"][0]["path"]} <= routes
    assert str(port["containerPort"]) == environment(deployment)["LLAMERO_PORT"] == options()["LLAMERO_PORT"]


def check_times(deployment):
    """The kubelet waits for a stop, and an update for a start."""
    values = options() | environment(deployment)
    spec, startup = deployment["spec"], container(deployment)["startupProbe"]
    rest = 15 if values["LLAMERO_PREFIX_CACHE_DIR"] else 5
    stop = seconds(values["LLAMERO_SHUTDOWN_DELAY"]) + seconds(values["LLAMERO_DRAIN_TIMEOUT"]) + rest
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > stop
    assert spec["progressDeadlineSeconds"] > startup["periodSeconds"] * startup["failureThreshold"]


def check_options(deployment):
    """Variables are options of the server, and no Service can set one."""
    used = {name for name in environment(deployment) if name.startswith("LLAMERO_")}
    assert used and used <= set(options()), used - set(options())
    assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False


def check_rights(deployment):
    pod = deployment["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] >= 10000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    rights = container(deployment)["securityContext"]
    assert rights == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def check_folders(deployment):
    """With a read-only root each folder that the server writes to is on a volume, and each mount has a volume."""
    mounts = {mount["mountPath"]: mount for mount in container(deployment)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert "/tmp" in writable
    for name, value in environment(deployment).items():
        if name in ("LLAMERO_MODELS_DIR", "LLAMERO_PREFIX_CACHE_DIR", "HF_HUB_CACHE", "XDG_CACHE_HOME", "CUDA_CACHE_PATH"):
            assert any(Path(value).is_relative_to(path) for path in writable), f"{name}={value}"
        if name == "LLAMERO_API_KEY_FILE":
            volume = volumes[mounts[str(Path(value).parent)]["name"]]
            assert Path(value).name in [item["path"] for item in volume["secret"]["items"]]


CHECKS = [check_times, check_options, check_rights, check_folders]


@pytest.mark.parametrize("check", CHECKS)
def test_the_deployment_fits_the_server(check):
    check(load("base/deployment.yaml"))


@needs_kustomize
@pytest.mark.parametrize(("overlay", "pool"), WITH_POOL)
def test_the_rendered_deployment_fits_the_server(rendered, overlay, pool):
    deployment = one(rendered(overlay, pool), "Deployment")

    for check in CHECKS:
        check(deployment)
    values = environment(deployment)
    assert ("LLAMERO_API_KEY_FILE" in values) != ("LLAMERO_INSECURE_NO_AUTH" in values) == pool
    assert container(deployment)["image"] == f"llamero:{overlay}" and (ROOT / f"deploy/docker/Dockerfile.{overlay}").is_file()
    resources = container(deployment)["resources"]
    assert resources["requests"] == resources["limits"] and re.fullmatch(r"[1-9]\d*", resources["limits"]["cpu"])
    assert resources["limits"].get("nvidia.com/gpu") == ("1" if overlay == "cuda" else None)
    # Disks: the node must have what the volumes may take.
    disks = [volume["emptyDir"]["sizeLimit"] for volume in deployment["spec"]["template"]["spec"]["volumes"] if "emptyDir" in volume]
    gigabytes = [int(size.removesuffix("Gi")) for size in (*disks, resources["requests"]["ephemeral-storage"])]
    assert sum(gigabytes[:-1]) < gigabytes[-1]


# ---- Files among each other ----


def check_selectors(documents):
    deployment = one(documents, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = {
        "Deployment": deployment["spec"]["selector"]["matchLabels"],
        "Service": one(documents, "Service")["spec"]["selector"],
        "PodDisruptionBudget": one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": one(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    }
    for document in documents:
        if document["kind"] in EXTENSIONS:
            selectors[document["kind"]] = document["spec"]["selector"]["matchLabels"]
    for constraint in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        selectors["topology"] = constraint["labelSelector"]["matchLabels"]
    for kind, selector in selectors.items():
        assert selector and selector.items() <= labels, kind

    (port,) = container(deployment)["ports"]
    assert [rule["targetPort"] for rule in one(documents, "Service")["spec"]["ports"]] == [port["name"]]
    assert one(documents, "NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    target = one(documents, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    # An `apply` must not reset the number of the autoscaler.
    assert "replicas" not in deployment["spec"]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == one(documents, "ServiceAccount")["metadata"]["name"]


def test_selectors_ports_and_names_agree():
    base = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["resources"]
    check_selectors([load(f"base/{name}") for name in base] + [load("monitoring/podmonitor.yaml"), load("inference-pool/inferencepool.yaml")])


@needs_kustomize
@pytest.mark.parametrize(("overlay", "pool"), WITH_POOL)
def test_selectors_ports_and_names_agree_after_rendering(rendered, overlay, pool):
    check_selectors(rendered(overlay, pool))


def test_keys_come_from_the_secret_of_the_example():
    secret = load("base/secret.example.yaml")
    (volume,) = [volume for volume in load("base/deployment.yaml")["spec"]["template"]["spec"]["volumes"] if volume["name"] == "keys"]
    shown = load("monitoring/podmonitor.yaml")["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]
    keys = secret["stringData"]

    assert volume["secret"]["secretName"] == shown["name"] == secret["metadata"]["name"]
    assert {item["key"] for item in volume["secret"]["items"]} | {shown["key"]} == set(keys)
    assert keys[shown["key"]] in keys["keys"].splitlines()


def test_the_autoscaler_reads_metrics_that_the_server_has_and_the_adapter_renames():
    wanted = {metric["pods"]["metric"]["name"] for metric in load("base/hpa.yaml")["spec"]["metrics"]}
    (rule,) = load("monitoring/prometheus-adapter-values.yaml")["rules"]["custom"]
    served = re.findall(r'"(vllm:[a-z_]+)"', (ROOT / "src/telemetry/metrics/table.rs").read_text())

    series = re.search(r'__name__=~"([^"]+)"', rule["seriesQuery"])[1]
    given = {re.sub(rule["name"]["matches"], rule["name"]["as"].replace("$", "\\"), name) for name in served if re.search(series, name)}
    assert given == wanted and len(wanted) == 2


def test_pool_picker_and_network_policy_agree():
    pool, values = load("inference-pool/inferencepool.yaml"), load("inference-pool/values.yaml")
    (rule,) = load("inference-pool/networkpolicy-patch.yaml")
    router = values["router"]

    assert pool["spec"]["targetPorts"] == router["modelServers"]["targetPorts"] == [{"number": 8000}]
    assert pool["spec"]["selector"]["matchLabels"] == router["modelServers"]["matchLabels"]
    picker = pool["spec"]["endpointPickerRef"]["name"]
    assert picker == f"{pool['metadata']['name']}-epp" and pool["spec"]["endpointPickerRef"]["port"] == {"number": 9002}
    # The label of a release whose chart does not make the pool.
    assert router["inferencePool"]["create"] is False
    assert rule["value"]["podSelector"]["matchLabels"] == {"llm-d-router-standalone": picker}
