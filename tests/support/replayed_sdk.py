"""SDKs as they behave around a restart, replayed without their patience (spec/sdk-wire#reconnects).

What an SDK does only by chance, or at its next poll a minute later, is left out: what the proxy owes it must
come by its stream.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from tests.support.sdk_like import SdkLike
from tests.support.streams import StreamClient, read_record

# Between the end of a stream and the next one: SDKs wait for none to thirty seconds.
_PAUSE: Final = 0.3
_TARGET: Final = "somebody"
_OVER: Final = (OSError, asyncio.IncompleteReadError, httpx2.TransportError)


class RefusedError(Exception):
    """A request was answered with another status than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class Habits:
    """What tells SDKs apart.

    ``client``: it gets evaluations, and one segment event makes it fetch all. ``fetches``: it fetches
    everything when its stream was lost and when it has it again. ``heals``: it authenticates again when
    that is answered with 403. ``starts_over``: it authenticates whenever its stream was lost.
    ``polls_only``: it never opens a second stream, and polls from then on.
    """

    name: str
    info: str
    client: bool = False
    fetches: bool = False
    heals: bool = False
    starts_over: bool = False
    polls_only: bool = False


HABITS: Final = (
    Habits("Python", "Python Server"),
    Habits("Node, Go", "NodeJS Server"),
    Habits("Java", "Java Server", fetches=True, heals=True),
    Habits(".NET", ".NET Server", fetches=True, heals=True),
    Habits("Ruby", "Ruby Server", polls_only=True),
    Habits("JavaScript", "Javascript Client", client=True),
    Habits("Android", "Android Client", client=True, fetches=True, starts_over=True),
)


class _Client(SdkLike):
    """Says which SDK it is."""

    info = ""

    @property
    def headers(self) -> dict[str, str]:
        return super().headers | {"Harness-SDK-Info": self.info}


class ReplayedSdk:
    """One SDK at ``url``, with what it holds of flags; an item counts only in a higher version.

    Attributes:
        ready: it has loaded everything, and its first stream is open.
        values: what an application gets, by flag.
        wrong: versions that fell.
    """

    def __init__(self, url: str, key: str, habits: Habits) -> None:
        self.habits: Final = habits
        self.ready: Final = asyncio.Event()
        self.values: dict[str, str] = {}
        self.wrong: list[str] = []
        self._versions: dict[str, int] = {}
        self._client = _Client(url, key)
        self._client.info = habits.info

    async def run(self) -> None:
        """Until cancelled; raises if it cannot even begin."""
        async with self._client.http:
            await self._start()
            while True:
                try:
                    async with self._client.stream() as stream:
                        if self.ready.is_set() and self.habits.fetches:
                            await self._fetch()
                        self.ready.set()
                        await self._listen(stream)
                except (*_OVER, AssertionError, RefusedError):
                    await self._lost()

    async def _start(self) -> None:
        await self._client.authenticate({"identifier": _TARGET} if self.habits.client else None)
        await self._fetch()

    async def _listen(self, stream: StreamClient) -> None:
        while record := await stream.record():
            event = read_record(record)
            if event is not None:
                await self._take(event)

    async def _lost(self) -> None:
        await asyncio.sleep(_PAUSE)
        while True:
            try:
                if self.habits.starts_over:
                    await self._start()
                elif self.habits.fetches or self.habits.polls_only:
                    await self._fetch()
            except RefusedError as refused:
                if self.habits.heals and refused.status == httpx2.codes.FORBIDDEN:
                    await self._client.authenticate()
            except (*_OVER, AssertionError):
                pass
            if not self.habits.polls_only:
                return
            await asyncio.sleep(_PAUSE)

    async def _fetch(self) -> None:
        if self.habits.client:
            self.values = {
                one["flag"]: one["value"] for one in await self._got(f"/target/{_TARGET}/evaluations")
            }
            return
        await self._got("/target-segments?rules=v2")
        for flag in await self._got("/feature-configs"):
            self._hold(flag)

    async def _take(self, event: Mapping[str, Any]) -> None:
        name = event["identifier"]
        if event["domain"] != "flag":
            if self.habits.client:
                await self._fetch()
        elif event["event"] == "delete":
            self.values.pop(name, None)
        elif self.habits.client:
            self.values[name] = (await self._got(f"/target/{_TARGET}/evaluations/{name}"))["value"]
        else:
            self._hold(await self._got(f"/feature-configs/{name}"))

    def _hold(self, flag: Mapping[str, Any]) -> None:
        name, version = flag["feature"], flag["version"]
        held = self._versions.get(name, 0)
        if version < held:
            self.wrong.append(f"{name} in version {version} after {held}")
        if version > held:
            self._versions[name] = version
            self.values[name] = flag["variations"][0]["value"]

    async def _got(self, path: str) -> Any:
        answer = await self._client.get(path)
        if answer.status_code != httpx2.codes.OK:
            raise RefusedError(answer.status_code)
        return answer.json()
