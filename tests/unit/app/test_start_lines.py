"""The lines of a start: what this proxy is, and that it is ready."""

import asyncio
import json
from io import StringIO

import pytest

from ff_proxy.app.start_lines import ReadyLine, start_facts
from ff_proxy.config.load import load
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory import MemoryConfigs
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock

ONLINE = [
    *("-account-identifier", "acc", "-org-identifier", "org"),
    *("-admin-service-token", "t0p-secret-token"),
    *("-api-keys", ",".join(f"server-key-{number}-of-many" for number in range(50))),
]


def test_the_first_line_says_what_is_started() -> None:
    """And what is not as by default, in the form of print-config."""
    facts = start_facts(load([*ONLINE, "-port", "7443", "-workers", "3"], {}))
    assert facts["mode"] == "online"
    assert (facts["store"], facts["address"], facts["workers"]) == ("memory", "http://*:7443", 3)
    assert facts["api_keys"] == 50
    settings = facts["settings"]
    assert isinstance(settings, dict)
    assert (settings["port"], settings["workers"]) == ("7443", "3")
    assert "log-level" not in settings


@pytest.mark.parametrize(
    ("redis", "shown"),
    [
        ("redis.test:6379", "redis.test:6379"),
        ("rediss://me:s3cret-word@redis.test:6380/3", "redis.test:6380"),
    ],
)
def test_the_first_line_holds_no_secret(redis: str, shown: str) -> None:
    """Whatever is configured: it is short, and shows neither keys nor passwords."""
    words = ["s3cret-word", "t0p-secret-token", "sign-with-this", "server-key-7-of-many"]
    facts = start_facts(load([*ONLINE, "-redis-address", redis, "-auth-secret", "sign-with-this"], {}))
    text = json.dumps(facts)
    assert shown in str(facts["store"])
    assert not [word for word in words if word in text]
    assert len(text) < 2000


async def test_ready_is_told_once_with_what_is_served() -> None:
    """After the seconds that it took; of many environments the first are listed."""
    clock, out = FakeClock(), StringIO()
    telemetry = Telemetry(make_logger("INFO", out), clock)
    configs = MemoryConfigs("test", clock)
    for number in range(30):
        info = EnvironmentInfo(EnvironmentId(f"e{number:02}"))
        await configs.replace(EnvironmentConfig(info, {}, {}, frozenset({hash_key(f"k{number}")})))
    snapshots = SnapshotRegistry(configs, CompileOptions(), clock, telemetry)
    await snapshots.resync()
    states = [Readiness(pending=("key a: not yet",)), Readiness(loaded=30, refused=("key b: refused",))]
    line = ReadyLine(lambda: states[0], snapshots, clock, telemetry)
    telling = asyncio.create_task(line.run())
    await clock.advance(3)
    assert not out.getvalue()
    states.pop(0)
    await clock.advance(60)
    telling.cancel()
    (text,) = out.getvalue().splitlines()
    told = json.loads(text)
    assert (told["event"], told["environments"], told["keys"]) == ("ready", 30, 30)
    assert told["seconds"] == pytest.approx(3.1, abs=0.11)
    assert told["serving"][0] == {"environment": "e00", "flags": 0, "target_groups": 0, "keys": 1}
    assert len(told["serving"]) == 20
    assert told["refused"] == ["key b: refused"]
