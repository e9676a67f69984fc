"""After any restart, in every mode, no SDK is left on old values: a flag is changed while the proxy is away.

One run for all tests: each mode and each way to end is a scene with a proxy and SDKs of its own, and scenes
play side by side, since what a proxy owes SDKs may come a minute after they have returned.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from ff_proxy.model.environment import Domain
from ff_proxy.model.keys import hash_key
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.seed.build import flag, serve
from tests.integration.harness import Proxy, offline_options, online_options, sandbox
from tests.sdk.client import DriverError, SdkClient, SdkOptions
from tests.sdk.prepare import missing_tools, prepare
from tests.sdk.sdks import NODEJS, PYTHON, Launcher, Sdk, launcher
from tests.support.fleet import QUICK, TICK, Ticker
from tests.support.log_scan import scan
from tests.support.redis_server import redis_server
from tests.support.replayed_sdk import HABITS, Habits, ReplayedSdk
from tests.support.sdk_like import DEV, KEYS, eventually
from tests.support.workers import alive, pids

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CLIENT_KEY: Final = "sandbox-dev-client-key"
GONE: Final = "gone"
# A server SDK that returns to a proxy without a store is told everything within 60 seconds.
WITHIN: Final = 60.0 + 30.0
AT_ONCE: Final = 4
ENDS: Final = ("SIGTERM", "kill -9")
SOMEBODY: Final = {"identifier": "somebody"}


@dataclass(frozen=True, slots=True)
class Mode:
    """How a proxy runs.

    ``remembers``: what was deleted while it was away is known when it returns. ``others``: members on the
    same Redis that go on.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()
    offline: bool = False
    redis: bool = False
    others: int = 0
    replica: bool = False
    remembers: bool = True


# Those first that take longest.
MODES: Final = (
    Mode("memory", remembers=False),
    Mode("memory, auth-secret", (("auth-secret", "a-secret-of-many-letters-and-7-digits"),), remembers=False),
    Mode("offline", offline=True, remembers=False),
    Mode("workers", (("workers", "2"),), remembers=False),
    Mode("data-dir", (("data-dir", "DATA"),)),
    Mode("data-dir, workers", (("data-dir", "DATA"), ("workers", "2"))),
    Mode("alone on redis", redis=True),
    Mode("of a fleet", redis=True, others=1),
    Mode("replica", redis=True, others=1, replica=True),
)
REAL: Final = {("data-dir", "kill -9"), ("workers", "SIGTERM"), ("of a fleet", "kill -9")}
"""Where real SDKs play as well, the quick ones."""


class Saas:
    """Flags at Harness."""

    def __init__(self, ticker: Ticker, drop: Callable[[], object]) -> None:
        self._ticker = ticker
        self._drop = drop

    def change(self) -> int:
        """Change one flag and delete another; returns the new value."""
        self._drop()
        return self._ticker.tick()


class Directory:
    """Flags in an offline directory."""

    def __init__(self, root: Path) -> None:
        self._place = root / f"env-{DEV}"
        self._place.mkdir(parents=True)
        self._info = default_environments()[0].info
        keys = [hash_key(key) for key in (KEYS[DEV], CLIENT_KEY)]
        self._write("auth_config", keys)
        self._number = 1
        self._write("feature_config", [self._flag(TICK), self._flag(GONE)])

    def change(self) -> int:
        """The same."""
        self._number += 1
        self._write("feature_config", [self._flag(TICK)])
        return self._number

    def _flag(self, name: str) -> Any:
        values = {"now": str(self._number), "never": "0"}
        document = flag(self._info, name, "string", values, off="never", default=serve("now"))
        return {**document, "version": self._number}

    def _write(self, name: str, content: object) -> None:
        (self._place / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Stage:
    """One proxy that is restarted, and where its flags are changed."""

    proxy: Proxy
    flags: Saas | Directory


@asynccontextmanager
async def stage(mode: Mode, place: Path) -> AsyncIterator[Stage]:
    """Everything of a mode runs, and is ended."""
    async with AsyncExitStack() as stack:
        options = {"shutdown-delay": "0"} | dict(mode.options)
        if "data-dir" in options:
            options["data-dir"] = str(place / "data")
        if mode.offline:
            directory = Directory(place / "config")
            flags: Saas | Directory = directory
            options |= offline_options(place / "config")
        else:
            saas = await stack.enter_async_context(sandbox(*default_environments()))
            state = saas.state
            info = state.find(DEV).info
            doomed = flag(info, GONE, "string", {"a": "a"}, off="a", default=serve("a"))
            state.put(DEV, Domain.FLAG, doomed)
            flags = Saas(Ticker(saas), lambda: state.drop(DEV, Domain.FLAG, GONE))
            online = online_options(saas, [KEYS[DEV]]) | QUICK
            if mode.redis:
                server = stack.enter_context(redis_server(place / "redis"))
                options["redis-address"] = f"127.0.0.1:{server.port}"
                for number in range(mode.others):
                    log = place / f"other-{number}.log"
                    await stack.enter_async_context(Proxy.running(online | options, log))
            options |= {"read-replica": "true"} if mode.replica else online
        proxy = Proxy(options, place / "log")
        stack.push_async_callback(proxy.kill)
        await proxy.start()
        yield Stage(proxy, flags)
        await proxy.stop()


async def gone(proxy: Proxy, how: str) -> None:
    """End all of its processes."""
    if how == "SIGTERM":
        await proxy.stop()
        return
    children = pids(proxy).values()
    await proxy.kill()
    await eventually(lambda: _none_alive(children))


async def _none_alive(processes: Sequence[int] | Any) -> bool:
    return not any(map(alive, processes))


Outcomes = dict[tuple[str, str, str], str]
"""What became of an SDK, by mode, end and SDK: nothing to say of those that have the new value."""


async def scene(
    mode: Mode, how: str, place: Path, busy: asyncio.Semaphore, start: Launcher, found: Outcomes
) -> None:
    """SDKs load, the proxy goes, a flag changes, the proxy returns; waits for each SDK to know."""
    async with AsyncExitStack() as stack:
        async with busy:
            await asyncio.to_thread(place.mkdir)
            set_up = await stack.enter_async_context(stage(mode, place))
            url = set_up.proxy.url
            group = await stack.enter_async_context(asyncio.TaskGroup())
            replayed = [ReplayedSdk(url, _key(habits), habits) for habits in HABITS]
            tasks = [group.create_task(sdk.run()) for sdk in replayed]
            real = [
                (
                    sdk,
                    await stack.enter_async_context(
                        start.client(sdk, f"{place.name}-{sdk.name}", _options(url))
                    ),
                )
                for sdk in ((PYTHON, NODEJS) if (mode.name, how) in REAL else ())
                if not missing_tools(sdk.name)
            ]
            async with asyncio.timeout(60):
                for one in replayed:
                    await one.ready.wait()
            for _, client in real:
                assert await client.initialised(within=60)
                await client.heard("streaming", within=60)
            await gone(set_up.proxy, how)
            number = set_up.flags.change()
            await set_up.proxy.start()
        try:
            waiting = [_replayed(mode, one, number) for one in replayed]
            seen = await asyncio.gather(*waiting, *(_real(client, number) for _, client in real))
        finally:
            for task in tasks:
                task.cancel()
        names = [one.habits.name for one in replayed] + [sdk.name for sdk, _ in real]
        found.update({(mode.name, how, name): said for name, said in zip(names, seen, strict=True)})


def _key(habits: Habits) -> str:
    return CLIENT_KEY if habits.client else KEYS[DEV]


def _options(url: str) -> SdkOptions:
    return SdkOptions(KEYS[DEV], url, url, SOMEBODY)


async def _replayed(mode: Mode, sdk: ReplayedSdk, number: int) -> str:
    # What polls adds and replaces flags only, and a client's list is whole.
    deleted = mode.remembers and not sdk.habits.polls_only

    async def knows() -> bool:
        return sdk.values.get(TICK) == str(number) and not (deleted and GONE in sdk.values)

    try:
        await eventually(knows, WITHIN)
    except TimeoutError:
        return f"{sdk.values.get(TICK)!r}, not {number}; {GONE} is {sdk.values.get(GONE)!r}"
    return "; ".join(sdk.wrong)


async def _real(client: SdkClient, number: int) -> str:
    try:
        await client.until("string", TICK, SOMEBODY, "none", expected=str(number), within=WITHIN)
    except DriverError as error:
        return str(error)
    return ""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Of all scenes."""
    root = tmp_path_factory.mktemp("restarts")
    sdks = [sdk for sdk in (PYTHON, NODEJS) if not missing_tools(sdk.name)]
    await asyncio.to_thread(prepare, [sdk.name for sdk in sdks])
    found: Outcomes = {}
    busy = asyncio.Semaphore(AT_ONCE)
    async with launcher(sdks, tmp_path_factory.mktemp("sdks")) as start, asyncio.TaskGroup() as group:
        for number, mode in enumerate(MODES):
            for end, how in enumerate(ENDS):
                group.create_task(scene(mode, how, root / f"{number}-{end}", busy, start, found))
    scan(root)
    return found


@pytest.mark.parametrize("sdk", [habits.name for habits in HABITS])
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("mode", [mode.name for mode in MODES])
async def test_an_sdk_is_not_left_on_old_values(outcomes: Outcomes, mode: str, how: str, sdk: str) -> None:
    """It has the change, by its stream or by what it fetches, and no version has fallen."""
    assert outcomes[mode, how, sdk] == ""


@pytest.mark.parametrize("sdk", [PYTHON, NODEJS], ids=lambda sdk: sdk.name)
@pytest.mark.parametrize(("mode", "how"), sorted(REAL))
async def test_a_real_sdk_is_not_left_on_old_values(
    outcomes: Outcomes, mode: str, how: str, sdk: Sdk
) -> None:
    """The same of what companies run."""
    missing = missing_tools(sdk.name)
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}")
    assert outcomes[mode, how, sdk.name] == ""
