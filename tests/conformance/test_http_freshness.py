"""Reading your writes where the store is shared: requests that have to wait for it.

See spec/behaviour#upward-queues, spec/behaviour#read-your-writes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.model.target import Target
from ff_proxy.store.memory import MemoryTargets
from ff_proxy.store.protocol import UNKNOWN, PutItem, SetKeys, Unknown
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import Site, ask, connected, message, serving, until

FLAGS = f"/client/env/{ENVIRONMENT}/feature-configs"
EVALUATION = f"/client/env/{ENVIRONMENT}/target/jane/evaluations/gold"
GOLD = [
    {
        "priority": 0,
        "clauses": [{"attribute": "plan", "op": "equal", "values": ["gold"]}],
        "serve": {"variation": "true"},
    }
]


class Checks:
    """Freshness that a test sets; a check catches up with the store, once ``gate`` lets it through."""

    def __init__(self) -> None:
        self.site: Site | None = None
        self.is_fresh = True
        self.checked: list[EnvironmentId] = []
        self.asked_bulk: list[bool] = []
        self.gate = asyncio.Semaphore(1000)

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        del environment
        self.asked_bulk.append(bulk)
        return self.is_fresh

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool]:
        return lambda: self.fresh(environment, bulk=bulk)

    async def refresh(self, environment: EnvironmentId) -> None:
        self.checked.append(environment)
        await self.gate.acquire()
        assert self.site is not None
        await self.site.snapshots.refresh(environment)


class FarTargets(MemoryTargets):
    """Targets that cannot be looked up without waiting, or not at all."""

    def __init__(self) -> None:
        super().__init__(FakeClock(), 100_000)
        self.away = False

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        del environment, identifier
        return UNKNOWN

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        if self.away:
            raise StoreUnavailable("the store is away")
        return await super().get(environment, identifier)


@pytest.fixture
async def shared(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Site, Checks, FarTargets]]:
    """A member of a fleet whose notices never arrive: its clock, and so its comparing, stands still."""
    checks, targets = Checks(), FarTargets()
    site = checks.site = Site(clock=FakeClock(), freshness=checks, targets=targets)
    items = (flag("a"), flag("gold", defaultServe={"variation": "false"}, rules=GOLD))
    async with serving(site, config(*items)):
        monkeypatch.setattr(site.store.configs._feed, "publish", lambda _: None)
        yield site, checks, targets


async def test_what_is_fresh_is_answered_at_once(shared: tuple[Site, Checks, FarTargets]) -> None:
    """Bulk reads and others are told apart, also when the answer is remembered."""
    site, checks, _ = shared
    for _ in range(3):
        assert (await ask(site, "GET", FLAGS, site.bearer())).status == 200
        assert (await ask(site, "GET", f"{FLAGS}/a", site.bearer())).status == 200
    assert set(checks.asked_bulk[::2]) == {True}
    assert set(checks.asked_bulk[1::2]) == {False}
    assert checks.checked == []


async def test_what_may_not_be_fresh_is_checked(shared: tuple[Site, Checks, FarTargets]) -> None:
    """The answer is the store's, not the one of before, even if that was given a moment ago."""
    site, checks, _ = shared
    header = site.bearer()
    old = [await ask(site, "GET", path, header) for path in (FLAGS, f"{FLAGS}/a")]
    await site.store.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
    checks.is_fresh = False
    new = [await ask(site, "GET", path, header) for path in (FLAGS, f"{FLAGS}/a")]
    assert [one.status for one in new] == [200, 200]
    assert all(before.body != after.body for before, after in zip(old, new, strict=True))
    assert checks.checked == [ENVIRONMENT] * 2


async def test_a_key_that_is_new_in_the_store_is_not_refused(
    shared: tuple[Site, Checks, FarTargets],
) -> None:
    """Another member issued the token; a 403 would end the SDK."""
    site, checks, _ = shared
    keys = frozenset([hash_key(KEY), hash_key("new")])
    await site.store.configs.apply(ENVIRONMENT, SetKeys(keys))
    header = site.bearer(key="new")
    assert (await ask(site, "GET", FLAGS, header)).status == 200
    await site.store.configs.apply(ENVIRONMENT, SetKeys(keys | {hash_key("newer")}))
    newer = site.bearer(key="newer")
    assert (await ask(site, "POST", f"/metrics/{ENVIRONMENT}", newer, b"{}")).status == 200
    await site.store.configs.apply(ENVIRONMENT, SetKeys(keys | {hash_key("newest")}))
    async with connected(site) as wire:
        await wire.send(message("GET", "/stream", header | {"API-Key": "newest"}))
        assert (await wire.response()).status == 200
    assert checks.checked == [ENVIRONMENT] * 3
    assert (await ask(site, "GET", FLAGS, site.bearer(key="unknown"))).status == 403


async def test_an_environment_that_is_new_in_the_store_is_found(
    shared: tuple[Site, Checks, FarTargets],
) -> None:
    """Before its SDKs are told that it is not loaded."""
    site, _, _ = shared
    other = EnvironmentId("11111111-2222-4333-8444-555555555555")
    made = config(flag("b"), environment=other, keys=("other",))
    token = site.tokens.issue(made.info, hash_key("other"))
    await site.store.configs.replace(made)
    path = f"/client/env/{other}/feature-configs"
    assert (await ask(site, "GET", path, {"Authorization": f"Bearer {token}"})).status == 200


async def test_requests_wait_their_turn(shared: tuple[Site, Checks, FarTargets]) -> None:
    """While a stream or a read waits for the store, what follows on the connection waits too."""
    site, checks, _ = shared
    checks.is_fresh = False
    checks.gate = asyncio.Semaphore(0)
    hot = message("GET", FLAGS, site.bearer())
    refused = message("GET", "/stream", site.bearer() | {"API-Key": "unknown"})
    async with connected(site) as wire:
        await wire.send(hot + refused + hot + refused)
        for status in (200, 403, 200, 403):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await wire.reader.readexactly(1)
            checks.gate.release()
            assert (await wire.response()).status == status


async def test_a_client_that_leaves_is_not_waited_for(shared: tuple[Site, Checks, FarTargets]) -> None:
    """Nor is anything sent to it."""
    site, checks, _ = shared
    checks.gate = asyncio.Semaphore(0)
    async with connected(site) as wire:
        await wire.send(message("GET", "/stream", site.bearer() | {"API-Key": "unknown"}))
        await until(lambda: bool(checks.checked))
    await until(lambda: not site.state.connections)
    checks.gate.release()


async def test_a_target_that_is_far_away_is_fetched(shared: tuple[Site, Checks, FarTargets]) -> None:
    """If it cannot be, its identifier serves alone."""
    site, _, targets = shared
    await targets.put(ENVIRONMENT, Target("jane", attributes={"plan": "gold"}))
    assert (await ask(site, "GET", EVALUATION, site.bearer())).json()["value"] == "true"
    await targets.put(ENVIRONMENT, Target("jane", attributes={"plan": "free"}))
    assert (await ask(site, "GET", EVALUATION, site.bearer())).json()["value"] == "false"
    await targets.put(ENVIRONMENT, Target("jane", attributes={"plan": "gold"}))
    targets.away = True
    assert (await ask(site, "GET", EVALUATION, site.bearer())).json()["value"] == "false"


async def test_waiting_changes_no_answer(shared: tuple[Site, Checks, FarTargets]) -> None:
    """Who has to wait for the store is told what is told at once otherwise."""
    site, checks, _ = shared
    checks.is_fresh = False
    tag = (await ask(site, "GET", FLAGS, site.bearer())).field("etag") or ""
    requests = [
        (FLAGS, site.bearer()),
        (FLAGS, site.bearer() | {"If-None-Match": tag, "X-Request-ID": "one"}),
        (FLAGS, site.bearer() | {"Connection": "close", "Origin": "https://a.example"}),
        (f"{FLAGS}/none", site.bearer()),
        (EVALUATION, site.bearer() | {"Accept-Encoding": "gzip"}),
        (FLAGS.replace(ENVIRONMENT, "none"), site.bearer()),
        (FLAGS, {}),
    ]
    late = [await ask(site, "GET", path, fields) for path, fields in requests]
    checks.is_fresh = True
    at_once = [await ask(site, "GET", path, fields) for path, fields in requests]
    assert [one.status for one in late] == [200, 304, 200, 404, 200, 403, 401]
    assert [one.undated for one in late] == [one.undated for one in at_once]


async def test_a_client_that_will_ask_no_more_is_answered(shared: tuple[Site, Checks, FarTargets]) -> None:
    """It has closed its side while its request waits; then the connection ends."""
    site, checks, _ = shared
    checks.is_fresh = False
    checks.gate = asyncio.Semaphore(0)
    async with connected(site) as wire:
        await wire.send(message("GET", FLAGS, site.bearer()))
        wire.writer.write_eof()
        await until(lambda: bool(checks.checked))
        checks.gate.release()
        assert (await wire.response()).field("connection") == "close"
        assert await wire.closed() == b""


async def test_what_fails_while_waiting_is_answered(
    shared: tuple[Site, Checks, FarTargets], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 500, and the connection goes on."""
    site, _, targets = shared

    async def broken(*_: object) -> None:
        raise LookupError("a defect")

    async with connected(site) as wire:
        with monkeypatch.context() as patch:
            patch.setattr(targets, "get", broken)
            await wire.send(message("GET", EVALUATION, site.bearer()))
            assert (await wire.response()).status == 500
        await wire.send(message("GET", EVALUATION, site.bearer()))
        assert (await wire.response()).status == 200


async def test_a_post_counts_although_its_sender_has_left(shared: tuple[Site, Checks, FarTargets]) -> None:
    """SDKs send what they have and go."""
    site, checks, _ = shared
    checks.gate = asyncio.Semaphore(0)
    async with connected(site) as wire:
        fields = site.bearer(key="new-key")
        await wire.send(message("POST", f"/metrics/{ENVIRONMENT}", fields, b"{}"))
        await until(lambda: bool(checks.checked))
        wire.reset()
        await until(lambda: not site.state.connections)
    await site.store.configs.apply(ENVIRONMENT, SetKeys(frozenset({hash_key(KEY), hash_key("new-key")})))
    checks.gate.release()
    await until(lambda: site.posts.bodies == [(ENVIRONMENT, b"{}")])
