"""The image is built by a real builder, and runs as its page and the product's page say."""

import json
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from ff_proxy.config.records import ALL, OfflineOptions, ServingOptions
from ff_proxy.errors import ExitCode
from tests.deploy.harness import (
    ENV_FILE,
    NOBODY,
    SHELL,
    complaints,
    start_harness,
    start_redis,
    start_sandbox,
)
from tests.support.containers import Container, Network, Spec, wait_for
from tests.support.docker_run import DockerRun, docker_runs, read_line, spec_of
from tests.support.image import PROJECT, Image, what_the_engine_is_sent

SEED_PAGE = PROJECT.parent / "shared/spec/seed-deploy-relay-proxy.md"
OWN_PAGE = PROJECT / "docs/install/docker.md"
ADDED_MB = 45  # as docs/install/docker.md says

_UNCHECKED_HASH = 1
"""See PEP 552."""

pytestmark = pytest.mark.timeout(900)  # the first test waits for the image, with its downloads


def lines_of(page: Path) -> list[str]:
    """The page's lines that run our image."""
    if not page.is_file():
        pytest.skip(f"{page.name} is not beside this checkout")
    lines = docker_runs(page.read_text(encoding="utf-8"))
    ours = [line for line in lines if "redis:latest" not in line]
    assert len(ours) >= 8
    return ours


def test_the_image_is_what_the_product_page_promises(image: Image) -> None:
    """Not root, port 7000, a volume for the directory, a health check that the builder kept, no command."""
    config = image.config
    assert config["User"] == f"{NOBODY}:{NOBODY}"
    assert list(config["ExposedPorts"]) == [f"{ServingOptions().port}/tcp"]
    assert list(config["Volumes"]) == [str(OfflineOptions().config_dir)]
    assert config["Entrypoint"] == ["ff-proxy"]
    assert not config["Cmd"]
    assert config["Healthcheck"]["Test"] == ["CMD", "ff-proxy", "health"]
    assert config["Healthcheck"]["Timeout"] > 5e9  # nanoseconds; the probe itself gives up after 5 s


def test_its_labels_are_filled_in(image: Image) -> None:
    """With what the build was told."""
    prefix = "org.opencontainers.image."
    labels = {
        name.removeprefix(prefix): value
        for name, value in image.config["Labels"].items()
        if name.startswith(prefix)
    }
    assert (labels["version"], labels["revision"]) == ("1.2.3", "0123abc")
    assert labels["base.name"].startswith("localhost/ff-proxy-base")
    assert labels["licenses"] == "Apache-2.0"
    assert {"title", "description", "created", "source"} <= labels.keys()


def test_it_holds_what_the_lock_names_and_nothing_else(image: Image) -> None:
    """No build tool, no pip, and our package as a wheel of its own; no more megabytes than the page says."""
    lock = (PROJECT / "requirements/runtime.txt").read_text(encoding="utf-8")
    pinned = {_normal(name) for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", lock)}
    ours = image.root / "opt/ff-proxy"
    (packages,) = ours.glob("lib/python3*/site-packages")
    names = {_normal(path.name.split("-")[0]) for path in packages.glob("*.dist-info")}
    assert names == pinned | {"ff-proxy"}
    assert not list((image.root / "opt").glob("build*"))
    assert not (image.root / "build").exists()
    size = sum(path.lstat().st_size for path in ours.rglob("*") if not path.is_symlink()) / 1e6
    assert ADDED_MB - 15 < size < ADDED_MB + 5, size


def test_nothing_of_it_is_compiled_when_it_starts(image: Image) -> None:
    """Every module has bytecode, which no time or content of its source makes stale."""
    (packages,) = image.root.glob("opt/ff-proxy/lib/python3*/site-packages")
    sources = [*packages.rglob("*.py")]
    assert len(sources) > 300
    for source in sources:
        (compiled,) = source.parent.glob(f"__pycache__/{source.stem}.cpython-*.pyc")
        with compiled.open("rb") as bytecode:
            _, flags = struct.unpack("<4sI", bytecode.read(8))
        assert flags == _UNCHECKED_HASH, source
    assert f"adds {ADDED_MB} MB" in OWN_PAGE.read_text(encoding="utf-8")


def test_nothing_but_the_recipes_needs_reaches_the_engine(image: Image) -> None:
    """In particular no ``.env`` and no repository history."""
    assert image.root.is_dir()
    sent = what_the_engine_is_sent()
    assert {path.split("/")[0] for path in sent} == {
        "LICENSE",
        "NOTICE",
        "README.md",
        "pyproject.toml",
        "requirements",
        "src",
    }
    assert {Path(path).suffix for path in sent if path.startswith("requirements")} == {".txt"}


def test_bare_it_lists_every_option_and_what_is_missing(image: Image, network: Network) -> None:
    """``docker run harness/ff-proxy``, as the deployment page says."""
    container = network.run(Spec("bare", image.root, image.config["Entrypoint"], image.environ, user=NOBODY))
    assert container.wait() == ExitCode.BAD_CONFIGURATION
    assert all(f"-{option.flag}" in container.said for option in ALL)
    assert container.said.endswith("account-identifier, org-identifier, admin-service-token, api-keys\n")


@pytest.mark.parametrize(("page", "account"), [(OWN_PAGE, False), (SEED_PAGE, True)], ids=["ours", "seed"])
def test_every_docker_run_line_of_the_page(
    image: Image, network: Network, tmp_path: Path, page: Path, *, account: bool
) -> None:
    """Each does what its page says, untouched: Harness is found at its own addresses, behind TLS.

    Its certificate is by an authority that was given to the build (``CA_CERTIFICATES``).
    """
    start_harness(network, image, tmp_path)
    start_redis(network)
    config = tmp_path / "config"
    config.mkdir()
    config.chmod(0o777)
    shell = {
        **SHELL,
        "PWD": str(tmp_path),
        "YOUR_ABSOLUTE_PATH": str(tmp_path),
        "YOUR_ABSOULUTE_PATH": str(tmp_path),
    }
    for number, line in enumerate(sorted(lines_of(page), key=_generates_first), 1):
        run = read_line(line, shell)
        _write_env_files(tmp_path, run, _mode(page, line) if account else {})
        container = network.run(spec_of(run, image, f"proxy-{number}", tmp_path / "volumes", tmp_path))
        said = _does_what_it_should(network, container, run)
        if said.startswith("{"):
            assert complaints(said, ["error"]) == [], line


@pytest.mark.parametrize("user", [(NOBODY, NOBODY), (1000650000, 0), (1234, 1234)], ids=str)
@pytest.mark.parametrize("workers", [1, 2])
def test_it_runs_as_any_user_on_a_read_only_root(
    image: Image, network: Network, user: tuple[int, int], workers: int
) -> None:
    """Without capabilities, with nothing mounted and nothing that it could write to but shared memory."""
    start_sandbox(network, image)
    proxy = network.run(_proxy(image, user, {"WORKERS": str(workers)}))
    network.until_ok(proxy, f"http://{proxy.address}:7000/health/ready")
    status = Path(f"/proc/{proxy.pid()}/status").read_text()
    assert re.search(r"CapEff:\s+0+\n", status)
    assert re.search(r"CapBnd:\s+0+\n", status)
    probe = proxy.execute(*image.config["Healthcheck"]["Test"][1:])
    assert probe.returncode == 0, probe.stdout + probe.stderr
    assert proxy.stop() == 0
    assert complaints(proxy.said) == []


@pytest.mark.parametrize("user", [0, NOBODY])
def test_nothing_of_a_container_outlives_it(image: Image, network: Network, user: int) -> None:
    """Whichever user it runs as: otherwise each run of the suite would leave proxies that use up the CPU."""
    container = network.run(Spec("sleeper", image.root, ["sleep", "600"], image.environ, user=user))
    inside = Path(f"/proc/{container.pid()}/cmdline")
    wait_for(lambda: inside.read_bytes().startswith(b"sleep"), "the program")
    container.kill()
    wait_for(lambda: not inside.exists(), "its end")


@pytest.mark.parametrize("user", [(NOBODY, NOBODY), (1000650000, 0)], ids=["own user", "OpenShift"])
def test_the_data_directory_outlives_the_container(
    image: Image, network: Network, tmp_path: Path, user: tuple[int, int]
) -> None:
    """A volume at ``/data`` serves without Harness, also for a user id out of nowhere."""
    start_sandbox(network, image)
    volumes = tmp_path / "volumes"
    line = f"docker run --read-only --user {user[0]}:{user[1]} -v data:/data ff-proxy -data-dir /data"
    for name in ("before", "after"):
        spec = spec_of(read_line(line, {}), image, name, volumes, tmp_path)
        online = _proxy(image, user, {}).environ
        gone = {"CLIENT_SERVICE": "http://nowhere:1/api/1.0", "SDK_BASE_URL": "http://nowhere:1/api/1.0"}
        environ = {**online, **(gone if name == "after" else {})}
        proxy = network.run(Spec(name, spec.root, spec.command, environ, spec.mounts, *user, read_only=True))
        network.until_ok(proxy, f"http://{proxy.address}:7000/health/ready")
        assert proxy.stop() == 0
        assert "choose another volume" not in proxy.said
    files = list((volumes / "data").iterdir())
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_builder_that_cannot_look_up_the_digest_does_not_build(tmp_path: Path) -> None:
    """The script builds on a digest, tells the builder to keep the health check, and fills in the labels."""
    digest = f"sha256:{'0f' * 32}"
    for name, script in (("buildah", "exit 9"), ("skopeo", 'test "${1}" = inspect && echo "$DIGEST"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    def scripted(**environ: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path}:{os.environ['PATH']}"
        given = {"PATH": path, "ENGINE": "buildah", "DRY_RUN": "1", "DIGEST": digest, **environ}
        command = [str(PROJECT / "scripts/image"), "--squash"]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False)

    done = scripted(PLATFORMS="linux/amd64,linux/arm64", TAG="ff-proxy:1")
    words = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert words[:5] == ["buildah", "build", "--format", "docker", "--manifest"]
    assert f"BASE=docker.io/library/python:3.13-slim@{digest}" in words
    assert {"--squash", "linux/amd64,linux/arm64", "ff-proxy:1"} <= set(words)
    refused = scripted(DIGEST="")
    assert refused.returncode == 2
    assert "BASE=" in refused.stderr
    assert "BASE=localhost/own" in scripted(BASE="localhost/own").stdout


def _proxy(image: Image, user: tuple[int, int], options: dict[str, str]) -> Spec:
    client = "http://saas:7100/api/1.0"
    environ = {
        **image.environ,
        **ENV_FILE,
        "ADMIN_SERVICE": "http://saas:7100/gateway/cf",
        **dict.fromkeys(("CLIENT_SERVICE", "METRIC_SERVICE", "SDK_BASE_URL", "SDK_EVENTS_URL"), client),
        **options,
    }
    return Spec("proxy", image.root, image.config["Entrypoint"], environ, (), *user, read_only=True)


def _generates_first(line: str) -> tuple[bool, bool]:
    generates = "generate" in line
    return "-offline" in line, not generates


def _mode(page: Path, line: str) -> dict[str, str]:
    """What the page says above a line with an env file to add to it."""
    text = page.read_text(encoding="utf-8")
    above = text[: text.index(line)]
    added = re.findall(r"Add `(GENERATE_OFFLINE_CONFIG|OFFLINE)=true`", above[above.rfind("####") :])
    return dict.fromkeys(added, "true")


def _write_env_files(directory: Path, run: DockerRun, added: dict[str, str]) -> None:
    lines = [f"{name}={value}   " for name, value in {**ENV_FILE, "DEBUG": "false", **added}.items()]
    for name in run.values.get("--env-file", ()):
        (directory / name).write_text("# Online, and spaces behind the values\n" + "\n".join(lines) + "\n")


def _does_what_it_should(network: Network, container: Container, run: DockerRun) -> str:
    environ = container.spec.environ
    if not run.arguments and "ACCOUNT_IDENTIFIER" not in environ:
        assert container.wait() == ExitCode.BAD_CONFIGURATION
        return container.said
    if (
        "-generate-offline-config" in run.arguments
        or environ.get("GENERATE_OFFLINE_CONFIG", "").strip() == "true"
    ):
        assert container.wait() == 0, container.said
        return container.said
    url = f"http://{container.address}:7000"
    network.until_ok(container, f"{url}/health/ready")
    body = json.dumps({"apiKey": SHELL["ENV_1_KEY"], "target": {"identifier": "zoe", "name": "Zoe"}})
    answer = network.curl("--fail", "--data", body, f"{url}/client/auth")
    assert json.loads(answer)["authToken"]
    assert container.execute("ff-proxy", "health").returncode == 0
    assert container.stop() == 0
    return container.said


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
