"""The log of requests: one line each, on every route, however fast it was answered."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from io import StringIO

import pytest

from ff_proxy.api.access_log import AccessLog
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import Site, ask, connected, message, serving

READ = f"/client/env/{ENVIRONMENT}/feature-configs"
GROUPS = "/client/env/{env}/target-segments"
TEMPLATE = "/client/env/{env}/feature-configs"


class Logged:
    """A running site and the lines about its requests."""

    def __init__(self, *, everything: bool) -> None:
        self.out = StringIO()
        self._clock = SystemClock()
        self._log = make_logger("INFO", self.out)
        self.site = Site(
            telemetry=Telemetry(self._log, self._clock), access_log=self.made(everything=everything)
        )

    def made(self, *, everything: bool) -> AccessLog:
        """Another log of requests that writes to the same place."""
        return AccessLog(self._log.bind(component="access"), self._clock, everything=everything)

    def levels(self, level: str) -> None:
        """As when the level is reloaded."""
        self._log.levels.change(level, {})
        self.site.state.tick()

    def change(self, access_log: AccessLog | None) -> None:
        """As when the option is reloaded."""
        self.site.request_metrics.log_to(access_log)
        self.site.state.refresh_logging()

    def lines(self) -> list[dict[str, object]]:
        return [line for line in map(json.loads, self.out.getvalue().splitlines()) if "component" in line]

    def requests(self) -> list[dict[str, object]]:
        return [line for line in self.lines() if line["event"] == "request"]


@pytest.fixture
async def all_logged() -> AsyncIterator[Logged]:
    """Every request has a line."""
    logged = Logged(everything=True)
    async with serving(logged.site, config(flag("a"))):
        yield logged


@pytest.fixture
async def errors_logged() -> AsyncIterator[Logged]:
    """Errors have."""
    logged = Logged(everything=False)
    async with serving(logged.site, config(flag("a"))):
        yield logged


async def test_a_line_says_who_asked_what(all_logged: Logged) -> None:
    """With the id that the client sent."""
    site = all_logged.site
    headers = site.bearer() | {"X-Request-Id": "mine", "Harness-SDK-Info": "Go 0.1.17 Server"}
    await ask(site, "GET", READ, headers)
    (line,) = all_logged.requests()
    assert {
        name: line[name] for name in ("method", "route", "status", "environment", "request_id", "sdk")
    } == {
        "method": "GET",
        "route": TEMPLATE,
        "status": 200,
        "environment": ENVIRONMENT,
        "request_id": "mine",
        "sdk": "Go 0.1.17 Server",
    }
    assert (line["peer"], line["level"]) == ("127.0.0.1", "info")
    assert isinstance(line["ms"], float)


async def test_every_route_is_logged(all_logged: Logged) -> None:
    """Unknown ones by their path; tokens, keys and queries are on no line."""
    site = all_logged.site
    bearer = site.bearer()
    asked = [
        ("POST", "/client/auth", "/client/auth", json.dumps({"apiKey": KEY}).encode()),
        ("GET", f"{READ}/a", TEMPLATE + "/{id}", b""),
        (
            "GET",
            f"/client/env/{ENVIRONMENT}/target-segments?x=hidden",
            "/client/env/{env}/target-segments",
            b"",
        ),
        ("GET", "/health/ready", "/health/ready", b""),
        ("GET", "/health", "/health", b""),
        ("GET", "/nowhere/at/all?x=hidden", "/nowhere/at/all", b""),
        ("DELETE", READ, TEMPLATE, b""),
        ("OPTIONS", READ, TEMPLATE, b""),
    ]
    for method, path, _, body in asked:
        await ask(site, method, path, bearer, body)
    assert [line["route"] for line in all_logged.requests()] == [route for _, _, route, _ in asked]
    text = all_logged.out.getvalue()
    assert not [word for word in ("hidden", KEY, site.token()) if word in text]


@pytest.mark.parametrize("together", [1, 7])
async def test_what_is_answered_from_memory_is_logged_too(all_logged: Logged, together: int) -> None:
    """One line for each of many equal requests, one after another or several at once, each with its id."""
    site = all_logged.site
    headers = site.bearer() | {"User-Agent": "curl/8"}
    async with connected(site) as wire:
        for _ in range(5):
            await wire.send(message("GET", READ, headers) * together)
            for _ in range(together):
                assert (await wire.response()).status == 200
    await asyncio.sleep(0)
    lines = all_logged.requests()
    assert len(lines) == 5 * together
    assert len({line["request_id"] for line in lines}) == len(lines)
    kept = {name: {str(line[name]) for line in lines} for name in ("route", "environment", "status", "sdk")}
    assert kept == {"route": {TEMPLATE}, "environment": {ENVIRONMENT}, "status": {"200"}, "sdk": {"curl/8"}}
    site.state.tick()
    counted = site.telemetry.exposition().decode()
    labels = f'envID="{ENVIRONMENT}",url="{TEMPLATE}"'
    assert f"ff_proxy_http_requests_duration_count{{{labels}}} {5 * together}.0" in counted


async def test_errors_are_told_with_what_the_client_was_told(errors_logged: Logged) -> None:
    """What was answered well has no line."""
    site = errors_logged.site
    assert (await ask(site, "GET", READ, site.bearer())).status == 200
    assert (await ask(site, "GET", f"{READ}/none", site.bearer())).status == 404
    assert (await ask(site, "GET", READ)).status == 401
    lines = errors_logged.requests()
    assert [line["status"] for line in lines] == [404, 401]
    assert all(line["cause"] for line in lines)


async def test_equal_errors_are_counted_instead_of_told(errors_logged: Logged) -> None:
    """By status, cause and environment."""
    site = errors_logged.site
    for _ in range(20):
        await ask(site, "GET", READ)
    assert len(errors_logged.requests()) == 1


async def test_open_connections_follow_a_change(all_logged: Logged) -> None:
    """Also for requests that are answered from memory."""
    site, bearer = all_logged.site, all_logged.site.bearer()
    async with connected(site) as wire:

        async def lines_of(path: str = READ) -> int:
            before = len(all_logged.requests())
            await wire.send(message("GET", path, bearer))
            await wire.response()
            await asyncio.sleep(0)
            return len(all_logged.requests()) - before

        assert [await lines_of() for _ in range(3)] == [1, 1, 1]
        all_logged.change(None)
        assert [await lines_of() for _ in range(3)] == [0, 0, 0]
        assert await lines_of(f"{READ}/none") == 0
        all_logged.change(all_logged.made(everything=False))
        assert [await lines_of(path) for path in (READ, f"{READ}/none", f"{READ}/none")] == [0, 1, 0]
        all_logged.change(all_logged.made(everything=True))
        assert all_logged.lines()[-1]["left_out"] == 1
        assert [await lines_of() for _ in range(3)] == [1, 1, 1]


async def test_what_is_remembered_follows_the_log_level(all_logged: Logged) -> None:
    """Of requests that are answered from memory the line is remembered, or that there is none."""
    site, bearer = all_logged.site, all_logged.site.bearer()
    async with connected(site) as wire:
        for level, lines in (("INFO", 5), ("ERROR", 0), ("INFO", 5)):
            all_logged.levels(level)
            before = len(all_logged.requests())
            for _ in range(5):
                await wire.send(message("GET", READ, bearer))
                await wire.response()
            await asyncio.sleep(0)
            assert len(all_logged.requests()) - before == lines


async def test_what_comes_once_is_logged_and_not_remembered(all_logged: Logged) -> None:
    """A proxy in front may put something new into each request: what is remembered would be thrown out."""
    site, bearer = all_logged.site, all_logged.site.bearer()
    log = site.request_metrics._access_log
    assert log is not None
    async with connected(site) as wire:
        for number in range(50):
            await wire.send(message("GET", READ, bearer | {"X-Trace": str(number)}))
            await wire.response()
        await asyncio.sleep(0)
        assert len(all_logged.requests()) == 50
        assert len(log._line_starts) == 0


@pytest.mark.parametrize("everything", [True, False])
async def test_what_clients_send_is_bounded(everything: bool) -> None:
    """And readable, whatever it is."""
    logged = Logged(everything=everything)
    async with serving(logged.site, config(flag("a"))) as site:
        for number in range(50):
            odd = {"User-Agent": "x" * 2000 + str(number), "Harness-SDK-Info": "\xe9\x80" * 500}
            await ask(site, "GET", "/" + "p" * 3000 + str(number), odd)
            await ask(site, f"ODD{number}"[:8], READ, odd)
    for line in logged.out.getvalue().splitlines():
        assert len(line) < 1500
        assert line.isascii()


async def test_the_labels_of_odd_requests_are_few() -> None:
    """Thousands of paths, targets, SDKs, environments and methods make no series of their own."""
    logged = Logged(everything=False)
    async with serving(logged.site, config(flag("a"))) as site, connected(site) as wire:
        bearer = site.bearer()
        made: list[Callable[[int], bytes]] = [
            lambda number: message("GET", f"/nowhere/{number}", bearer),
            lambda number: message("GET", f"/client/env/e{number}/feature-configs", bearer),
            lambda number: message("GET", f"/client/env/{ENVIRONMENT}/target/t{number}/evaluations", bearer),
            lambda number: message("GET", READ, bearer | {"Harness-SDK-Info": f"Odd {number}"}),
        ]
        for number in range(300):
            await wire.send(b"".join(make(number) for make in made))
            for _ in made:
                await wire.response()
        site.state.tick()
        shown = site.telemetry.exposition().decode().splitlines()
    series = Counter(line.partition("{")[0] for line in shown if not line.startswith("#"))
    assert series["ff_proxy_http_requests_total"] < 12
    assert not [line for line in shown if "t299" in line or "e299" in line or "Odd" in line]
