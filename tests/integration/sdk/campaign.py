"""Every SDK against every place at once: what is slow (SDKs poll and post once a minute) runs side by side.

Clients and places meet at acts: something happens to a place when all its clients are ready for it. What
each client saw is recorded, and looked at by the tests afterwards.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.running import RunningSandbox
from tests.integration.harness import ProxyError, sandbox
from tests.integration.sdk import shop
from tests.integration.sdk.places import (
    CONTROL,
    ONLINE,
    Place,
    control_shop,
    online_shop,
    open_place,
    saas_environment,
)
from tests.sdk.client import DriverError, SdkClient, SdkOptions
from tests.sdk.sdks import Launcher, Sdk, launcher

STREAM: Final = "stream"
POLL: Final = "poll"
REFUSED: Final = "refused"

EVALUATIONS_COUNTED: Final = 3

_START_WITHIN = 120.0
_STREAM_WITHIN = 60.0
_CHANGE_WITHIN = 30.0
_RECONNECT_WITHIN = 75.0  # the JavaScript SDK tries again after up to 30 s, and may find the proxy still away
_ACT_WITHIN = 240.0
_USAGE_AFTER = 66.0  # seconds later, an SDK has posted what it counted
_RESTART_AFTER = 36.0  # between the first post of the Java SDK (30 s) and those of the others (60 s)

_Seen = TypeVar("_Seen")


@dataclass(slots=True)
class Record:
    """What one client saw, step by step; a step that failed has its reason instead."""

    seen: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    async def note(self, step: str, happening: Awaitable[_Seen]) -> _Seen | None:
        """Await a step and keep what came of it."""
        try:
            result = await happening
        except DriverError as error:
            self.failed[step] = str(error)
            return None
        self.seen[step] = result
        return result

    def __getitem__(self, step: str) -> Any:
        """What came of a step; the reason, as a failed assertion, if nothing did."""
        if step not in self.seen:
            raise AssertionError(self.failed.get(step) or f"never got to {step!r}: {self.failed}")
        return self.seen[step]


class Act:
    """Something that happens to a place when all who wait for it are there."""

    def __init__(self, parties: Iterable[str]) -> None:
        self._missing = set(parties)
        self._all_here = asyncio.Event()
        self._over = asyncio.Event()
        self._check()

    def arrive(self, party: str) -> None:
        """This party is ready, or will never be."""
        self._missing.discard(party)
        self._check()

    async def attend(self, party: str) -> float:
        """Arrive, wait until it is over, and return when that was."""
        self.arrive(party)
        try:
            async with asyncio.timeout(_ACT_WITHIN):
                await self._over.wait()
        except TimeoutError:
            raise DriverError(f"{party}: what it waited for did not happen within {_ACT_WITHIN} s") from None
        return time.monotonic()

    async def perform(self, action: Callable[[], Awaitable[None]]) -> None:
        """Wait for all, act, and let them go on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ACT_WITHIN):
                await self._all_here.wait()
        try:
            await action()
        finally:
            self._over.set()

    def _check(self) -> None:
        if not self._missing:
            self._all_here.set()


@dataclass(slots=True)
class Campaign:
    """All that was seen."""

    records: dict[tuple[str, str, str], Record] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    usage: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """Counts that SaaS got, by place, SDK language, flag and variation."""
    targets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The targets that SaaS knows in the end, by place and identifier."""

    def record(self, place: str, role: str, sdk: Sdk) -> Record:
        """What one client saw; why there was none, as a failed assertion, if its place did not come up."""
        assert (place, role, sdk.name) in self.records, self.trouble
        return self.records[place, role, sdk.name]


class Troupe:
    """The clients of one place, and what happens there."""

    def __init__(self, place: Place, sdks: Sequence[Sdk], start: Launcher, campaign: Campaign) -> None:
        self._place = place
        self._sdks = sdks
        self._start = start
        self._campaign = campaign
        names = [sdk.name for sdk in sdks]
        self._flips = Act(names)
        self._cut = Act(names)
        self._restart = Act(names)
        self._relive = Act(names)
        self._poll = Act(names)
        self._began = time.monotonic()

    async def play(self) -> None:
        """Run every client and everything that happens, side by side."""
        roles: Mapping[str, Callable[[Sdk, Record], Awaitable[None]]] = {
            STREAM: self._streaming,
            POLL: self._polling,
            REFUSED: self._refused,
        }
        async with asyncio.TaskGroup() as group:
            for role, program in roles.items():
                for sdk in self._sdks:
                    group.create_task(self._client(role, sdk, program))
            group.create_task(self._direct())
            group.create_task(self._trouble(self._poll.perform(lambda: self._place.turn_on(shop.POLLED))))

    async def _direct(self) -> None:
        await self._trouble(self._flips.perform(self._change_everything))
        await self._trouble(self._cut.perform(self._cut_and_change))
        await self._trouble(self._restart.perform(self._restart_between_posts))
        await self._trouble(self._relive.perform(lambda: self._place.turn_on(shop.RELIVED)))

    async def _change_everything(self) -> None:
        await self._place.turn_on(shop.STREAMED)
        await self._place.put_group(shop.crowd(shop.ALICE, version=2))
        await self._place.drop_flag(shop.DOOMED)
        await self._place.put_flag(shop.newborn())

    async def _cut_and_change(self) -> None:
        await self._place.cut()
        await self._place.turn_on(shop.RESUMED)

    async def _restart_between_posts(self) -> None:
        await asyncio.sleep(self._began + _RESTART_AFTER - time.monotonic())
        await self._place.restart_around(shop.RESTARTED)

    async def _trouble(self, happening: Awaitable[None]) -> None:
        try:
            await happening
        except (ProxyError, DriverError) as error:
            self._campaign.trouble.append(f"{self._place.name}: {error}")

    async def _client(self, role: str, sdk: Sdk, program: Callable[[Sdk, Record], Awaitable[None]]) -> None:
        record = self._campaign.records[self._place.name, role, sdk.name] = Record()
        await record.note("whole", program(sdk, record))
        acts = {STREAM: (self._flips, self._cut, self._restart, self._relive), POLL: (self._poll,)}
        for act in acts.get(role, ()):
            act.arrive(sdk.name)

    def _options(self, sdk: Sdk, role: str) -> SdkOptions:
        return SdkOptions(
            api_key="a-key-that-nobody-knows" if role == REFUSED else self._place.shop.key,
            base_url=self._place.url,
            events_url=self._place.url,
            target=shop.ALICE,
            stream=role != POLL,
            poll_seconds=sdk.fastest_poll if role == POLL else 60,
        )

    def _open(self, sdk: Sdk, role: str) -> contextlib.AbstractAsyncContextManager[SdkClient]:
        name = f"{self._place.name}-{role}-{sdk.name}"
        return self._start.client(sdk, name, self._options(sdk, role))

    async def _streaming(self, sdk: Sdk, record: Record) -> None:
        async with self._open(sdk, STREAM) as client:
            if not await record.note("ready", client.initialised(within=_START_WITHIN)):
                raise DriverError(f"{client.name} is not ready: {client.events}")
            await record.note("streaming", client.heard("streaming", within=_STREAM_WITHIN))
            await record.note("answers", _answers(client))
            visitor = shop.visitor(sdk.name)
            for _ in range(EVALUATIONS_COUNTED):
                await record.note("counted", client.variation("boolean", shop.COUNTED, visitor, False))
            counted_at = time.monotonic()

            await self._flips.attend(sdk.name)
            for flag in (shop.STREAMED, shop.GROUPED, shop.NEWBORN):
                await record.note(flag, _until_on(client, flag, _CHANGE_WITHIN))
            gone = client.until(
                "string", shop.DOOMED, shop.ALICE, "gone", expected="gone", within=_CHANGE_WITHIN
            )
            await record.note(shop.DOOMED, gone)

            before = time.monotonic()
            await self._cut.attend(sdk.name)
            await record.note(shop.RESUMED, _until_on(client, shop.RESUMED, _RECONNECT_WITHIN))
            record.seen["events around the cut"] = [e.name for e in client.events if e.at > before]

            await self._restart.attend(sdk.name)
            await record.note(shop.RESTARTED, _until_on(client, shop.RESTARTED, _RECONNECT_WITHIN))
            await self._relive.attend(sdk.name)
            await record.note(shop.RELIVED, _until_on(client, shop.RELIVED, _RECONNECT_WITHIN))

            if not sdk.usage_at_close:
                await asyncio.sleep(counted_at + _USAGE_AFTER - time.monotonic())

    async def _polling(self, sdk: Sdk, record: Record) -> None:
        async with self._open(sdk, POLL) as client:
            if not await record.note("ready", client.initialised(within=_START_WITHIN)):
                raise DriverError(f"{client.name} is not ready: {client.events}")
            before = client.variation("boolean", shop.POLLED, shop.ALICE, True)
            await record.note("before", before)
            await self._poll.attend(sdk.name)
            within = sdk.fastest_poll * sdk.polls_needed + _CHANGE_WITHIN
            await record.note(shop.POLLED, _until_on(client, shop.POLLED, within))
            record.seen["events"] = [event.name for event in client.events]

    async def _refused(self, sdk: Sdk, record: Record) -> None:
        async with self._open(sdk, REFUSED) as client:
            await record.note("ready", client.initialised(within=_START_WITHIN))
            await record.note("default", client.variation("string", "banner", shop.ALICE, "default"))


async def _answers(client: SdkClient) -> Mapping[tuple[str, str], Any]:
    """What every target gets from every flag."""
    return {
        (question.flag, who["identifier"]): await client.variation(
            question.kind, question.flag, who, question.default_for(who)
        )
        for question in shop.QUESTIONS
        for who in shop.TARGETS
    }


async def _until_on(client: SdkClient, flag: str, within: float) -> float:
    return await client.until("boolean", flag, shop.ALICE, False, expected=True, within=within)


async def run(sdks: Sequence[Sdk], places: Sequence[str], scratch: Path) -> Campaign:
    """Show these SDKs all that happens at these places."""
    campaign = Campaign()
    shops = {CONTROL: control_shop(), ONLINE: online_shop()}
    environments = [saas_environment(name, its_shop) for name, its_shop in shops.items()]
    async with sandbox(*environments) as saas, launcher(sdks, scratch) as start:
        async with asyncio.TaskGroup() as group:
            for name in places:
                group.create_task(_visit(name, sdks, saas, start, campaign, scratch))
        for name, its_shop in shops.items():
            environment = saas.state.environments[EnvironmentId(its_shop.environment_id)]
            campaign.targets[name] = dict(environment.targets)
        campaign.usage = _usage(saas, {its_shop.environment_id: name for name, its_shop in shops.items()})
    return campaign


async def _visit(
    name: str, sdks: Sequence[Sdk], saas: RunningSandbox, start: Launcher, campaign: Campaign, scratch: Path
) -> None:
    try:
        async with open_place(name, saas, scratch) as place:
            await Troupe(place, sdks, start, campaign).play()
    except ProxyError as error:
        campaign.trouble.append(f"{name}: {error}")


def _usage(saas: RunningSandbox, places: Mapping[str, str]) -> Counter[tuple[str, str, str, str]]:
    """What was posted to SaaS in total."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for post in saas.usage.posts():
        for entry in post.body.get("metricsData") or ():
            said = {pair["key"]: pair.get("value") for pair in entry["attributes"]}
            what = (said["SDK_LANGUAGE"], said["featureName"], said["variationIdentifier"])
            counts[places[post.environment], *what] += entry["count"]
    return counts
