"""The services of each compose file, started with the arguments and the environment that it gives them."""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.harness import ENV_FILE, SHELL, complaints, start_harness
from tests.support.certificates import sign_certificate
from tests.support.compose import Project, load_compose
from tests.support.containers import Network, wait_for
from tests.support.image import PROJECT, Image, company_authority

COMPOSE: Final = PROJECT / "deploy/compose"
FRONT: Final = "flags.example.com"

pytestmark = pytest.mark.timeout(900)  # the first test waits for the image, with its downloads


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``deploy`` as a user has it: the environment filled in, the certificate in its place."""
    deploy = tmp_path / "deploy"
    (tmp_path / "deploy").mkdir()
    for part in ("compose", "nginx", "prometheus", "grafana"):
        (deploy / part).mkdir()
        for file in (PROJECT / "deploy" / part).rglob("*"):
            copy = deploy / part / file.relative_to(PROJECT / "deploy" / part)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file.is_file():
                copy.write_bytes(file.read_bytes())
    example = (COMPOSE / ".env.example").read_text()
    assert {line.partition("=")[0] for line in example.splitlines() if "=" in line} == set(ENV_FILE)
    lines = [f"{name}={value}" for name, value in ENV_FILE.items()]
    (deploy / "compose/.env").write_text("\n".join(lines))
    certificate, key = sign_certificate(deploy / "compose/tls", [FRONT], company_authority())
    certificate.rename(certificate.parent / "tls.crt")
    key.rename(key.parent / "tls.key")
    return deploy / "compose"


@pytest.fixture
def project(network: Network, image: Image, tmp_path: Path) -> Project:
    """Nothing yet."""
    return Project(network, image, tmp_path / "volumes")


def test_no_compose_file_goes_untested() -> None:
    """Each is started by a test here; ``proxy.yaml`` is what they have in common."""
    tested = {"single", "redis", "fleet", "monitoring", "sandbox"}
    assert {file.stem for file in COMPOSE.glob("*.yaml")} == tested | {"proxy"}


@pytest.mark.parametrize("file", ["single.yaml", "redis.yaml"])
def test_one_proxy(
    image: Image, network: Network, folder: Path, project: Project, tmp_path: Path, file: str
) -> None:
    """It serves what Harness has, is healthy, and warns of nothing."""
    start_harness(network, image, tmp_path)
    services = load_compose(folder / file)["services"]
    project.up(services)
    proxy = project.containers["ff-proxy"]
    network.until_ok(proxy, "http://ff-proxy:7000/health/ready")
    project.until_healthy("ff-proxy", services["ff-proxy"])
    assert "dark_mode" in _flags(network, "http://ff-proxy:7000")
    assert proxy.stop() == 0
    assert complaints(proxy.said) == []


def test_a_fleet_behind_tls_and_http2(
    image: Image, network: Network, folder: Path, project: Project, tmp_path: Path
) -> None:
    """An event reaches a stream through nginx, whichever member it is at, and members may die."""
    start_harness(network, image, tmp_path)
    project.up(load_compose(folder / "fleet.yaml")["services"])
    network.alias(FRONT, "nginx")
    for name in ("member-1", "member-2", "replica"):
        network.until_ok(project.containers[name], f"http://{name}:7000/health/ready")
    front = ["--cacert", str(company_authority()[0]), "--write-out", "%{http_version}"]
    answer = network.until_ok(project.containers["nginx"], *front, f"https://{FRONT}/health/ready")
    assert answer.endswith("2")
    assert network.curl(*front, "--output", "/dev/null", f"https://{FRONT}/metrics").endswith("2")
    url = f"https://{FRONT}"
    assert network.try_curl(*front, "--fail", f"{url}/metrics").returncode == 22  # not for the outside
    assert "dark_mode" in _flags(network, url, *front[:2])
    project.containers["member-1"].kill()
    assert "dark_mode" in _flags(network, url, *front[:2])


def test_a_laptop_with_the_sandbox(network: Network, folder: Path, project: Project) -> None:
    """Nothing is filled in, and the flip of the file's own comment works."""
    services = load_compose(folder / "sandbox.yaml")["services"]
    project.up(services)
    network.until_ok(project.containers["ff-proxy"], "http://ff-proxy:7000/health/ready")
    before = _flags(network, "http://ff-proxy:7000")
    assert "ff-proxy sandbox flip dark_mode" in (folder / "sandbox.yaml").read_text()
    flipped = project.containers["harness"].execute("ff-proxy", "sandbox", "flip", "dark_mode")
    assert flipped.returncode == 0, flipped.stderr

    def changed() -> bool:
        return _flags(network, "http://ff-proxy:7000") != before

    wait_for(changed, "the flag to change", network.logs)


def test_prometheus_scrapes_and_grafana_finds_its_files(
    image: Image, network: Network, folder: Path, project: Project, tmp_path: Path
) -> None:
    """Figures have a port of their own. Grafana is no Debian package: what it mounts is there."""
    start_harness(network, image, tmp_path)
    services = load_compose(folder / "monitoring.yaml")["services"]
    project.up(services, without=["grafana"])
    prometheus = project.containers["prometheus"]
    network.until_ok(prometheus, "http://prometheus:9090/-/ready")

    def scraped() -> bool:
        assert prometheus.running(), prometheus.said
        answer = json.loads(network.curl("http://prometheus:9090/api/v1/query?query=ff_proxy_stream_health"))
        return bool(answer["data"]["result"])

    wait_for(scraped, "a scrape", network.logs)
    rules = json.loads(network.curl("http://prometheus:9090/api/v1/rules"))["data"]["groups"]
    assert rules
    for volume in services["grafana"]["volumes"]:
        assert Path(volume["source"]).exists()
    assert network.try_curl("--fail", "http://ff-proxy:9102/metrics").returncode == 0


def _flags(network: Network, url: str, *options: str) -> str:
    """The flags of the first environment, as an SDK gets them."""
    body = json.dumps({"apiKey": SHELL["ENV_1_KEY"]})
    token = json.loads(network.curl("--fail", *options, "--data", body, f"{url}/client/auth"))["authToken"]
    environment = "11111111-1111-4111-8111-111111111111"
    headers = ("--header", f"Authorization: Bearer {token}")
    return network.curl("--fail", *options, *headers, f"{url}/client/env/{environment}/feature-configs")
