"""The unit: systemd takes it, and the service runs as the unit says, with what the unit leaves it."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.config.records import ServingOptions
from ff_proxy.errors import ExitCode
from tests.deploy.harness import SHELL, complaints, start_harness
from tests.support.containers import Mount, Network, Spec, wait_for
from tests.support.image import PROJECT, Image

UNIT: Final = PROJECT / "deploy/systemd/ff-proxy.service"
OPTIONS: Final = PROJECT / "deploy/systemd/options.toml"
CREDENTIALS: Final = "/run/credentials/ff-proxy.service"
DYNAMIC: Final = 61_184  # the first of the users that DynamicUser= hands out

pytestmark = pytest.mark.timeout(900)  # the first test waits for the image, with its downloads


def settings(name: str) -> list[str]:
    """The values of a setting of the unit, in order, its specifiers filled in."""
    return [value.replace("%d", CREDENTIALS) for value in re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text())]


def test_systemd_takes_the_unit_and_calls_it_hardened(tmp_path: Path) -> None:
    """Every setting is known to it, and what the service may still do is little."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on PATH")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/ff-proxy/bin/ff-proxy", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    security = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert security.returncode == 0, security.stdout


def test_what_it_repeats_of_the_proxy_is_right() -> None:
    """The time that it leaves for the end, and the exit codes that a restart does not mend."""
    (seconds,) = settings("TimeoutStopSec")
    assert int(seconds) > ServingOptions().shutdown.deadline
    assert settings("RestartPreventExitStatus") == [
        f"{ExitCode.BAD_CONFIGURATION:d} {ExitCode.CANNOT_START:d}"
    ]


def test_the_service_runs_as_the_unit_says(image: Image, network: Network, tmp_path: Path) -> None:
    """As a user out of nowhere, on a root that it cannot write, with its secrets as credentials."""
    start_harness(network, image, tmp_path)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    given = {
        "options.toml": OPTIONS.read_text()
        .replace("ACCOUNT", SHELL["MY_ACCOUNT_IDENTIFIER"])
        .replace("ORGANISATION", SHELL["MY_ORG_IDENTIFIER"]),
        "admin-service-token": SHELL["MY_SERVICE_TOKEN"],
        "api-keys": f"{SHELL['ENV_1_KEY']},{SHELL['ENV_2_KEY']}",
        "auth-secret": SHELL["ANY_AUTH_SECRET"],
    }
    loaded = dict(one.split(":") for one in settings("LoadCredential"))
    assert loaded == {name: f"/etc/ff-proxy/{name}" for name in given}
    for name, text in given.items():
        (credentials / name).write_text(text)
        (credentials / name).chmod(0o400)
        os.chown(credentials / name, DYNAMIC, DYNAMIC)
    state = tmp_path / "state"
    state.mkdir(int(settings("StateDirectoryMode")[0], 8))
    os.chown(state, DYNAMIC, DYNAMIC)
    environ = dict(one.partition("=")[::2] for one in settings("Environment"))
    (command,) = settings("ExecStart")
    mounts = [Mount(credentials, CREDENTIALS, True), Mount(state, "/var/lib/ff-proxy"), Mount(None, "/tmp")]
    assert settings("ProtectSystem") == ["strict"]
    spec = Spec(
        "service",
        image.root,
        command.split(),
        image.environ | environ,
        mounts,
        DYNAMIC,
        DYNAMIC,
        read_only=True,
    )
    service = network.run(spec)
    network.until_ok(service, "http://service:7000/health/ready")
    assert settings("ExecReload") == ["kill -HUP $MAINPID"]
    os.kill(service.pid(), signal.SIGHUP)
    wait_for(lambda: "options have not changed" in service.said, "the reload", network.logs)
    assert service.stop() == 0
    assert complaints(service.said) == []
