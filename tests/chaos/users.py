"""SDK-like users of every member, and what they hold against it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx2
import msgspec

from tests.chaos.truth import COMET, TICK
from tests.chaos.world import Form, Member, World
from tests.support.sdk_like import KEYS, SdkLike

# Users who ask more often leave the members no CPU.
_PAUSE: Final = 0.15
_TORN: Final = (httpx2.TransportError, OSError, asyncio.IncompleteReadError, TimeoutError)


class Post(msgspec.Struct, frozen=True):
    """Usage that a member has taken: when, and the name under which it is counted."""

    name: str
    at: float
    member: str
    answered: bool


class Complaints:
    """What users have seen that they must not see; each names the member and the moment."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.started = time.monotonic()

    def about(self, member: Member, what: str) -> None:
        """Note one, the first of many alike."""
        said = f"{time.monotonic() - self.started:6.2f} s, {member.name}: {what}"
        if len(self.made) < 50:
            self.made.append(said)


class User:
    """Reads a flag of an environment at one member in every way, for ever; posts usage; keeps its token."""

    def __init__(self, world: World, member: Member, environment: str, complaints: Complaints) -> None:
        self.member = member
        self.environment = environment
        self.newest = 0
        self.posts: list[Post] = []
        self.answers = 0
        self._world = world
        self._complaints = complaints
        self._keep_alive = world.form is not Form.WORKERS
        self._deaths = member.deaths

    async def run(self) -> None:
        """Until cancelled."""
        client = SdkLike(self.member.url, KEYS[self.environment], keep_alive=self._keep_alive)
        async with client.http:
            await client.authenticate()
            while True:
                await self._turn(client)
                await asyncio.sleep(_PAUSE)

    async def _turn(self, client: SdkLike) -> None:
        for path, read in _READS.items():
            answer = await self._ask(client, "GET", f"/client/env/{self.environment}{path}")
            if answer is not None:
                self._compare(path, read(answer.json()))
        post = f"posted-{self.member.name}-{self.environment[:4]}-{len(self.posts)}"
        at = time.monotonic()
        answer = await self._ask(client, "POST", f"/metrics/{self.environment}", json=_usage(post))
        self.posts.append(Post(post, at, self.member.name, answer is not None))
        await self._ask(
            client,
            "POST",
            "/client/auth",
            json={"apiKey": client.key, "target": {"identifier": post, "attributes": {"country": "DE"}}},
        )

    async def _ask(self, client: SdkLike, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """The answer if it is a good one; what is not good is complained of, unless there is an excuse."""
        life = self.member.life
        began = time.monotonic()
        try:
            answer = await client.http.request(method, path, headers=client.headers, **more)
        except _TORN as error:
            if life and life == self.member.life and not self._world.torn():
                took = time.monotonic() - began
                self._complaints.about(
                    self.member, f"{method} {path}: {type(error).__name__} after {took:.1f} s"
                )
            return None
        self.answers += 1
        if answer.status_code == 200:
            return answer
        excused = answer.status_code in {502, 503} and (not self.member.life or self.member.forgiven)
        if not excused:
            self._complaints.about(self.member, f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return None

    def _compare(self, path: str, value: int) -> None:
        if self._deaths != self.member.deaths and self.member.life:
            self._deaths = self.member.deaths
            if self.member.forgiven:
                self.newest = 0
        if value < self.newest:
            self._complaints.about(self.member, f"{path}: {value} after {self.newest}")
        self.newest = max(self.newest, value)


class Listener:
    """Holds a stream at one member open, and fetches what it tells of, as SDKs do."""

    def __init__(self, world: World, member: Member, environment: str, complaints: Complaints) -> None:
        self.member = member
        self.environment = environment
        self.known = 0
        self.comet = False
        self.events = 0
        self.openings = 0
        self._keep_alive = world.form is not Form.WORKERS
        self._world = world
        self._complaints = complaints

    async def run(self) -> None:
        """Until cancelled."""
        client = SdkLike(self.member.url, KEYS[self.environment], keep_alive=self._keep_alive)
        async with client.http:
            await client.authenticate()
            while True:
                life = self.member.life
                try:
                    await self._listen(client)
                except (*_TORN, AssertionError, ValueError) as error:
                    if life and life == self.member.life and not (self._world.torn() or self.member.forgiven):
                        self._complaints.about(self.member, f"/stream: {type(error).__name__} {error}")
                await asyncio.sleep(_PAUSE)

    async def _listen(self, client: SdkLike) -> None:
        async with client.stream() as stream:
            self.openings += 1
            await self._fetch(client)
            while True:
                event = await stream.event()
                self.events += 1
                if event["identifier"] in {TICK, COMET}:
                    await self._fetch(client)

    async def _fetch(self, client: SdkLike) -> None:
        answer = await client.get("/feature-configs")
        if answer.status_code == 200:
            flags = {flag["feature"]: flag for flag in answer.json()}
            self.known = _number(flags[TICK])
            self.comet = COMET in flags


def _number(flag: Mapping[str, Any]) -> int:
    return int(flag["variations"][0]["value"])


def _usage(name: str) -> Mapping[str, object]:
    attributes = {"featureIdentifier": name, "variationIdentifier": "true", "target": "global"}
    listed = [{"key": key, "value": value} for key, value in attributes.items()]
    entry = {"timestamp": 1_700_000_000_000, "count": 1, "metricsType": "FFMETRICS", "attributes": listed}
    return {"metricsData": [entry]}


_READS: Final[Mapping[str, Callable[[Any], int]]] = {
    f"/feature-configs/{TICK}": _number,
    "/feature-configs": lambda flags: _number(next(flag for flag in flags if flag["feature"] == TICK)),
    f"/target/somebody/evaluations/{TICK}": lambda found: int(found["value"]),
    "/target/somebody/evaluations": lambda found: int(
        next(one["value"] for one in found if one["flag"] == TICK)
    ),
}
"""How an SDK may ask for the flag that counts, below its environment."""
