"""The chart as Helm renders it, checked against Kubernetes' schemas, and its pods run without a cluster."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.containers import Container, Mount, Network, Spec, wait_for
from tests.support.go_tools import HELM, KUBECONFORM, go_module, go_tool
from tests.support.image import CACHE, PROJECT, Image

CHART: Final = PROJECT / "deploy/helm/ff-proxy"
KUBERNETES: Final = ("k8s.io/kubernetes", "v1.34.1")
OPERATOR: Final = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
_VERSION: Final = KUBERNETES[1].removeprefix("v")

Resource = dict[str, Any]
Values = Mapping[str, Any]


class ChartError(Exception):
    """Helm refuses the values: the text is what it says."""


def render(values: Values, release: str = "ff-proxy") -> list[Resource]:
    """What ``helm install`` would create; raises ``ChartError``."""
    return [one for one in yaml.safe_load_all(render_text(values, release)) if one]


def render_text(values: Values, release: str = "ff-proxy") -> str:
    """The same as Helm prints it."""
    return _helm(["template", release, str(CHART), "--kube-version", _VERSION, "--values", "-"], values)


def lint(values: Values) -> str:
    """What ``helm lint`` finds; a warning is an error."""
    return _helm(["lint", str(CHART), "--strict", "--kube-version", _VERSION, "--values", "-"], values)


def validate(resources: Iterable[Resource]) -> None:
    """Fail unless Kubernetes' own schemas, and the operator's, allow every resource and every field of it."""
    schemas = _schemas()
    done = subprocess.run(
        [
            *(go_tool(KUBECONFORM), "-strict", "-summary", "-output", "text"),
            *("-schema-location", f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
        ],
        input=yaml.safe_dump_all(resources),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def of_kind(resources: Sequence[Resource], kind: str) -> list[Resource]:
    """Those of one kind."""
    return [resource for resource in resources if resource["kind"] == kind]


@dataclass
class Cluster:
    """What a pod finds in its namespace: secrets and config maps by name, as files and their texts."""

    network: Network
    image: Image
    directory: Path
    secrets: dict[str, Mapping[str, str]] = field(default_factory=dict)
    config_maps: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def take(self, resources: Sequence[Resource]) -> None:
        """Take in what the chart itself creates of these."""
        for secret in of_kind(resources, "Secret"):
            self.secrets[secret["metadata"]["name"]] = secret["stringData"]
        for config_map in of_kind(resources, "ConfigMap"):
            self.config_maps[config_map["metadata"]["name"]] = config_map["data"]

    def run(self, deployment: Resource, name: str) -> Container:
        """Run a pod of a deployment under that name."""
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        context = pod["securityContext"]
        volumes = {
            volume["name"]: self._volume(volume, name, context["fsGroup"]) for volume in pod["volumes"]
        }
        mounts = [
            Mount(volumes[one["name"]], one["mountPath"], bool(one.get("readOnly")))
            for one in container["volumeMounts"]
        ]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        spec = Spec(
            name,
            self.image.root,
            [*self.image.config["Entrypoint"], *container.get("args", ())],
            {**self.image.environ, **{one["name"]: one["value"] for one in container["env"]}},
            mounts,
            context["runAsUser"],
            context["runAsGroup"],
            read_only=container["securityContext"]["readOnlyRootFilesystem"],
        )
        return self.network.run(spec)

    def until(self, probe: str, deployment: Resource, container: Container, *curl: str) -> None:
        """Wait until a probe of the deployment succeeds."""
        (declared,) = deployment["spec"]["template"]["spec"]["containers"]
        ask = declared[probe]
        if "exec" in ask:
            wait_for(
                lambda: container.execute(*ask["exec"]["command"]).returncode == 0, probe, self.network.logs
            )
            return
        ports = {port["name"]: port["containerPort"] for port in declared["ports"]}
        where = ask["httpGet"]
        url = f"{where['scheme'].lower()}://{container.address}:{ports[where['port']]}{where['path']}"
        self.network.until_ok(container, "--insecure", *curl, url)

    def update(self, container: Container, config_map: str, files: Mapping[str, str]) -> None:
        """Change a config map that a pod has mounted, as the kubelet does: all of it at once."""
        self.config_maps[config_map] = files
        _write_as_kubelet(self.directory / container.spec.name / config_map, files, 0o644, 0)

    def _volume(self, volume: Mapping[str, Any], pod: str, group: int) -> Path | None:
        place = self.directory / pod
        if "emptyDir" in volume:
            return None
        if "secret" in volume:
            secret = volume["secret"]
            files = dict(self.secrets[secret["secretName"]])
            if "items" in secret:
                files = {item["path"]: files[item["key"]] for item in secret["items"]}
            mounted = place / str(secret["secretName"])
            _write_as_kubelet(mounted, files, secret["defaultMode"], group)
            return mounted
        if "configMap" in volume:
            name = str(volume["configMap"]["name"])
            _write_as_kubelet(place / name, self.config_maps[name], 0o644, group)
            return place / name
        place /= str(volume["persistentVolumeClaim"]["claimName"])
        if not place.exists():
            place.mkdir(parents=True)
            os.chown(place, 0, group)
            place.chmod(0o2770)
        return place


def _write_as_kubelet(place: Path, files: Mapping[str, str], mode: int, group: int) -> None:
    """Files behind ``..data``, a link that is replaced at once when they change."""
    place.mkdir(parents=True, exist_ok=True)
    content = place / f"..{len(list(place.iterdir()))}"
    content.mkdir()
    for name, text in files.items():
        (content / name).write_text(text)
        os.chown(content / name, 0, group)
        (content / name).chmod(mode)
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    new = place / "..data_tmp"
    new.symlink_to(content.name)
    new.rename(place / "..data")


def _helm(arguments: Sequence[str], values: Values) -> str:
    done = subprocess.run(
        [go_tool(HELM), *arguments],
        input=yaml.safe_dump(dict(values)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise ChartError(done.stdout + done.stderr)
    return done.stdout


def _schemas() -> Path:
    """Schemas as kubeconform reads them, made once from what Kubernetes and the operator publish."""
    place = CACHE / f"kubernetes-{KUBERNETES[1]}-{OPERATOR[1]}"
    if not place.exists():
        unfinished = CACHE / f"{place.name}.{os.getpid()}"
        unfinished.mkdir(parents=True)
        api = json.loads((go_module(*KUBERNETES) / "api/openapi-spec/swagger.json").read_text())
        for name, schema in api["definitions"].items():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                document = _closed(_only_used(name, api["definitions"]))
                (unfinished / _file_of(kind["group"], kind["version"], kind["kind"])).write_text(
                    json.dumps(document)
                )
        for plural in ("servicemonitors", "prometheusrules"):
            file = (
                go_module(*OPERATOR) / f"example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml"
            )
            definition = yaml.safe_load(file.read_text())["spec"]
            for version in definition["versions"]:
                schema = _closed(version["schema"]["openAPIV3Schema"])
                name = _file_of(definition["group"], version["name"], definition["names"]["kind"])
                (unfinished / name).write_text(json.dumps(schema))
        unfinished.rename(place)
    return place


def _file_of(group: str, version: str, kind: str) -> str:
    return "-".join(filter(None, (kind.lower(), group.split(".", maxsplit=1)[0], version))) + ".json"


def _only_used(name: str, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the definitions that it refers to, and no others."""
    used: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in used:
            used[current] = definitions[current]
            waiting += _referred(definitions[current])
    return {"$ref": f"#/definitions/{name}", "definitions": used}


def _referred(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"].removeprefix("#/definitions/")] if isinstance(schema.get("$ref"), str) else []
        return own + [name for value in schema.values() for name in _referred(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in _referred(value)]
    return []


def _closed(schema: Any) -> Any:
    """A schema that refuses fields which it does not name, and takes a number where Kubernetes does."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if (
        schema.get("format") == "int-or-string"
        or schema.get("x-kubernetes-int-or-string")
        or _is_quantity(schema)
    ):
        return {"type": ["string", "integer", "number"]}
    closed = {key: _closed(value) for key, value in schema.items() if key != "format"}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _is_quantity(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string" and str(schema.get("description", "")).startswith(
        "Quantity is a fixed-point"
    )
