"""The chart: rendered by Helm itself, allowed by Kubernetes' schemas, and its pods really run."""

import hashlib
import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.harness import SHELL, complaints, start_harness, start_redis
from tests.support.certificates import make_certificate
from tests.support.containers import Network, wait_for
from tests.support.go_tools import HELM, go_tool
from tests.support.image import PROJECT, Image
from tests.support.kubernetes import CHART, ChartError, Cluster, lint, of_kind, render, validate

DOCS: Final = PROJECT / "docs/install/kubernetes.md"
ENVIRONMENT: Final = "8c7cfa27-6f0c-4b9d-9a5e-1f0f3a6f7c11"

HARNESS: Final = {
    "accountIdentifier": SHELL["MY_ACCOUNT_IDENTIFIER"],
    "orgIdentifier": SHELL["MY_ORG_IDENTIFIER"],
}
OWN_SECRET: Final = {"existing": "harness"}
SECRET_FILES: Final = {
    "admin-service-token": SHELL["MY_SERVICE_TOKEN"],
    "api-keys": f"{SHELL['ENV_1_KEY']},{SHELL['ENV_2_KEY']}",
    "auth-secret": SHELL["ANY_AUTH_SECRET"],
    "redis-password": "redis-password",
}
ONLINE: Final[Mapping[str, Any]] = {"harness": HARNESS, "secret": OWN_SECRET}
FLAG: Final = """
- feature: dark_mode
  project: shop
  environment: production
  kind: boolean
  state: {state}
  variations:
    - {{identifier: true, name: On, value: true}}
    - {{identifier: false, name: Off, value: false}}
  defaultServe: {{variation: true}}
  offVariation: false
"""


def offline(state: str) -> dict[str, Any]:
    """One environment with one flag in that state."""
    files = {
        "feature_config.yaml": FLAG.format(state=state),
        "auth_config.json": json.dumps([hashlib.sha256(OFFLINE_KEY.encode()).hexdigest()]),
    }
    return {"replicaCount": 1, "offline": {"enabled": True, "environments": {ENVIRONMENT: files}}}


OFFLINE_KEY: Final = "offline-key"
EVERYTHING: Final[Mapping[str, Any]] = {
    **ONLINE,
    "readReplicas": 2,
    "options": {"log-level": "DEBUG", "workers": 2, "and-rules": False},
    "image": {"digest": f"sha256:{'0f' * 32}", "pullSecrets": [{"name": "registry"}]},
    "redis": {"address": "rediss://redis:6379", "username": "u", "passwordInSecret": True, "prefix": "blue"},
    "tls": {"secret": "tls", "clientCa": True},
    "ingress": {"enabled": True, "className": "nginx", "host": "flags.example.com", "tlsSecret": "flags"},
    "autoscaling": {"enabled": True, "streams": 5000},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {"matchLabels": {"flags": "yes"}}}],
        "metricsFrom": [{"podSelector": {}}],
        "egress": [{"ports": [{"port": 6379}]}],
    },
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "service": {"annotations": {"a": "b"}},
    "serviceAccount": {"annotations": {"a": "b"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "flags"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "flags", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
}
PERSISTENT: Final[Mapping[str, Any]] = {**ONLINE, "replicaCount": 1, "persistence": {"enabled": True}}
PLAIN: Final[Mapping[str, Any]] = {
    "harness": HARNESS,
    "replicaCount": 1,
    "secret": {"adminServiceToken": SHELL["MY_SERVICE_TOKEN"], "apiKeys": SHELL["ENV_1_KEY"]},
}
SETS: Final = {
    "online": ONLINE,
    "offline": offline("on"),
    "everything": EVERYTHING,
    "persistent": PERSISTENT,
    "secret of the chart's own": PLAIN,
}

pytestmark = pytest.mark.timeout(1200)  # the first test waits for Helm and the image, with their downloads


@pytest.fixture
def cluster(network: Network, image: Image, tmp_path: Path) -> Cluster:
    """A namespace with a secret of Harness' credentials."""
    return Cluster(network, image, tmp_path / "cluster", {"harness": SECRET_FILES})


@pytest.mark.parametrize("name", SETS)
def test_kubernetes_takes_what_helm_renders(name: str) -> None:
    """Every resource, and each of its fields, is in the schemas of Kubernetes and of the operator."""
    lint(SETS[name])
    resources = render(SETS[name], "blue")
    validate(resources)
    names = [(resource["kind"], resource["metadata"]["name"]) for resource in resources]
    assert len(set(names)) == len(names)


def test_the_schemas_find_mistakes() -> None:
    """What makes the test above worth something: a misspelt field, a wrong type, an unknown kind."""
    (deployment,) = of_kind(render(ONLINE), "Deployment")
    spec = deployment["spec"]
    pod = spec["template"]["spec"]
    misspelt = {**spec, "template": {**spec["template"], "spec": {**pod, "terminationGracePeriodSecond": 1}}}
    validate([deployment])
    for spoilt in (
        {**deployment, "spec": misspelt},
        {**deployment, "spec": {**spec, "replicas": "two"}},
        {**deployment, "kind": "Deploymint"},
    ):
        with pytest.raises(AssertionError):
            validate([spoilt])


def test_every_value_is_described_and_a_misspelt_one_is_refused() -> None:
    """In the schema, which is closed, and in the comments of the file."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    schema = json.loads((CHART / "values.schema.json").read_text())
    _compare(values, schema, "")
    own = {"For charts that have this one as a dependency."}
    assert _descriptions(schema) - own <= _comments(text)
    with pytest.raises(ChartError, match="replicaCuont"):
        render({**ONLINE, "replicaCuont": 3})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"harness": {}}, "harness.accountIdentifier"),
        ({"secret": {}}, "secret.existing"),
        ({"secret": {"adminServiceToken": "t", "apiKeys": "k"}}, "replicaCount 1"),
        ({"persistence": {"enabled": True}}, "replicaCount 1"),
        ({"readReplicas": 1}, "redis.address"),
        ({"offline": {"enabled": True}}, "offline.environments"),
        ({"shutdown": {"delay": 20, "deadline": 20}}, "shutdown.deadline"),
        ({"options": {"port": 7001}}, "options.port"),
        ({"metrics": {"port": 7000}}, "port"),
        ({"autoscaling": {"enabled": True, "cpu": 0}, "redis": {"address": "redis:6379"}}, "autoscaling.cpu"),
    ],
)
def test_what_would_not_work_is_refused_with_the_value_to_change(change: dict[str, Any], named: str) -> None:
    """Before anything is installed."""
    with pytest.raises(ChartError, match=named.replace(".", r"\.")):
        render({**ONLINE, **change})


@pytest.mark.parametrize("name", SETS)
def test_the_pod_ends_in_order(name: str) -> None:
    """Its grace period is above what the hook and the proxy take together, and each probe is there."""
    for deployment in of_kind(render(SETS[name]), "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        environ = {one["name"]: one.get("value") for one in container["env"]}
        waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert pod["terminationGracePeriodSeconds"] > waits + int(environ["SHUTDOWN_DEADLINE"])
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False


def test_pods_run_online(network: Network, cluster: Cluster, tmp_path: Path) -> None:
    """Every probe succeeds, secrets are read from files, figures have a port, nothing is warned of."""
    start_harness(network, cluster.image, tmp_path)
    resources = render(ONLINE)
    cluster.take(resources)
    (deployment,) = of_kind(resources, "Deployment")
    pod = cluster.run(deployment, "pod")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        cluster.until(probe, deployment, pod)
    assert "dark_mode" in _flags(network, "http://pod:7000", SHELL["ENV_1_KEY"])
    assert network.try_curl("--fail", "http://pod:9102/metrics").returncode == 0
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    hook = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod.execute(*hook[:-1], "0").returncode == 0
    assert pod.stop() == 0
    assert complaints(pod.said) == []


def test_a_replica_runs_without_credentials_of_harness(
    network: Network, cluster: Cluster, tmp_path: Path
) -> None:
    """It mounts its own part of the secret, and takes the tokens of the others."""
    start_harness(network, cluster.image, tmp_path)
    start_redis(network)
    resources = render({**ONLINE, "readReplicas": 1, "redis": {"address": "redis:6379"}})
    member, replica = of_kind(resources, "Deployment")
    cluster.until("readinessProbe", member, cluster.run(member, "member"))
    pod = cluster.run(replica, "replica")
    cluster.until("readinessProbe", replica, pod)
    secrets = pod.execute("ls", "/run/secrets/ff-proxy").stdout.split()
    assert secrets == ["auth-secret"]
    assert "dark_mode" in _flags(network, "http://replica:7000", SHELL["ENV_1_KEY"], "http://member:7000")


def test_pods_serve_a_config_map_offline_and_follow_it(network: Network, cluster: Cluster) -> None:
    """A change of the config map reaches SDKs without a restart."""
    resources = render(offline("on"))
    cluster.take(resources)
    (deployment,) = of_kind(resources, "Deployment")
    pod = cluster.run(deployment, "pod")
    cluster.until("readinessProbe", deployment, pod)
    assert '"state":"on"' in _flags(network, "http://pod:7000", OFFLINE_KEY, environment=ENVIRONMENT)
    (changed,) = of_kind(render(offline("off")), "ConfigMap")
    cluster.update(pod, changed["metadata"]["name"], changed["data"])
    wait_for(
        lambda: '"state":"off"' in _flags(network, "http://pod:7000", OFFLINE_KEY, environment=ENVIRONMENT),
        "the change",
        network.logs,
    )
    assert pod.stop() == 0


@pytest.mark.parametrize("mutual", [False, True], ids=["TLS", "mutual TLS"])
def test_probes_work_over_tls(cluster: Cluster, tmp_path: Path, *, mutual: bool) -> None:
    """Where SDKs must show a certificate, the kubelet could not: the probes are commands then."""
    certificate, key = make_certificate(tmp_path)
    files = {
        "tls.crt": certificate.read_text(),
        "tls.key": key.read_text(),
        "ca.crt": certificate.read_text(),
    }
    cluster.secrets["tls"] = files
    resources = render({**offline("on"), "tls": {"secret": "tls", "clientCa": mutual}})
    cluster.take(resources)
    (deployment,) = of_kind(resources, "Deployment")
    pod = cluster.run(deployment, "pod")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        cluster.until(probe, deployment, pod)


def test_a_volume_keeps_the_store(network: Network, cluster: Cluster, tmp_path: Path) -> None:
    """It belongs to the pod's group only, which is nothing to warn of."""
    start_harness(network, cluster.image, tmp_path)
    resources = render(PERSISTENT)
    (deployment,) = of_kind(resources, "Deployment")
    assert of_kind(resources, "PersistentVolumeClaim")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = cluster.run(deployment, "pod")
    cluster.until("readinessProbe", deployment, pod)
    assert pod.execute("ls", "/data").stdout.count("ff-proxy.sqlite")
    assert pod.stop() == 0
    assert complaints(pod.said) == []


def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    """For those without Helm; made by scripts/manifests."""
    committed = (PROJECT / "deploy/kubernetes/ff-proxy.yaml").read_text()
    done = subprocess.run(
        [PROJECT / "scripts/manifests", "--print"],
        env={"PATH": "/usr/bin:/bin", "HELM": str(go_tool(HELM))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == committed
    validate(one for one in yaml.safe_load_all(committed) if one)


def test_the_page_installs_it() -> None:
    """The command of the page renders, and every value that the page names is there."""
    page = DOCS.read_text()
    command = re.search(r"(?m)^helm install ff-proxy (\S+) ((?:.*\\\n)*.*)$", page)
    assert command is not None
    words = shlex.split(command[2].replace("\\\n", " "))
    done = subprocess.run(
        [go_tool(HELM), "template", "ff-proxy", command[1], "--kube-version", "1.34.0", *words],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = re.findall(r"`((?:[a-z][A-Za-z]+)(?:\.[a-z][A-Za-z]+)+)(?:=\w+)?`", page)
    assert len(named) > 15
    for path in named:
        place: Any = values
        for word in path.split("."):
            assert word in place, path
            place = place[word]


def _flags(
    network: Network,
    url: str,
    key: str,
    issuer: str = "",
    environment: str = "11111111-1111-4111-8111-111111111111",
) -> str:
    body = json.dumps({"apiKey": key})
    answer = network.curl("--fail", "--data", body, f"{issuer or url}/client/auth")
    token = json.loads(answer)["authToken"]
    headers = ("--header", f"Authorization: Bearer {token}")
    return network.curl("--fail", *headers, f"{url}/client/env/{environment}/feature-configs")


def _compare(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
    assert schema["additionalProperties"] is False, path
    assert schema["properties"].keys() - {"global"} == values.keys(), path
    for name, value in values.items():
        described = schema["properties"][name]
        if isinstance(value, dict) and value and "properties" in described:
            _compare(value, described, f"{path}.{name}")


def _comments(text: str) -> set[str]:
    """What stands above each value, a paragraph in a line."""
    return {" ".join(re.findall(r"# ?(.*)", block)) for block in re.findall(r"(?m)(?:^ *# .*\n)+", text)}


def _descriptions(schema: dict[str, Any]) -> set[str]:
    inner = schema.get("properties", {}).values()
    return {one["description"] for one in inner if "description" in one} | {
        text for one in inner for text in _descriptions(one)
    }
