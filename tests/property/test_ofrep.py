"""Whatever has changed since, 304 stands for what an evaluation would give now (spec/behaviour#ofrep)."""

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ff_proxy.model.environment import Domain, Item
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import DropItem, PutItem
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag, segment
from tests.support.http import Response
from tests.support.loops import Background
from tests.support.pipes import converse
from tests.support.thorough import examples
from tests.support.web import Site, message, serving

BULK = "/ofrep/v1/evaluate/flags"
OTHER = EnvironmentId("11111111-2222-4333-8444-555555555555")
KEYS = (KEY, "a-second-key-of-it", "the-other-server-key", "nobodys-key")
HALF_AN_HOUR = 1800.0
"""So long an address to listen at is given out."""

ATTRIBUTES = ("identifier", "name", "plan", "x")


def share_by(attribute: str, *, version: int = 1, shift: int = 0, on: bool = True) -> Item:
    """A flag that most values of an attribute get something else of."""
    names = [f"v{(number + shift) % 20}" for number in range(20)]
    shares = [{"variation": name, "weight": 5} for name in names]
    return flag(
        f"by-{attribute}",
        version=version,
        on=on,
        kind="string",
        variations=[{"identifier": name, "value": name} for name in names],
        offVariation="v0",
        defaultServe={"distribution": {"bucketBy": attribute, "variations": shares}},
    )


def by_group(*, version: int = 1) -> Item:
    """A flag for a target group."""
    clause = {"attribute": "", "op": "segmentMatch", "values": ["beta"]}
    rule = {"priority": 0, "clauses": [clause], "serve": {"variation": "false"}}
    return flag("by-group", version=version, rules=[rule])


def beta(member: str, *, version: int = 1) -> Item:
    """The group."""
    return segment("beta", version=version, included=[{"identifier": member}])


def configs() -> tuple[Any, Any]:
    """Two environments, the first with two keys, that give most contexts something of their own."""
    flags = [share_by(attribute) for attribute in ATTRIBUTES]
    return (
        config(*flags, by_group(), beta("ann"), keys=KEYS[:2]),
        config(*(share_by(name, shift=1) for name in ATTRIBUTES), environment=OTHER, keys=KEYS[2:3]),
    )


class JumpingClock(FakeClock):
    """Its wall clock may jump; nobody who sleeps notices."""

    def jump(self, seconds: float) -> None:
        self._start += seconds


class Pair:
    """A proxy, and one that holds the same and evaluates every time; their clocks stand still."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._clocks = (JumpingClock(), JumpingClock())
        self._sites = tuple(
            Site(clock=clock, remembers=remembers)
            for clock, remembers in zip(self._clocks, (True, False), strict=True)
        )
        for site in self._sites:
            background.serve(lambda up, over, site=site: _serve(site, up, over))  # type: ignore[misc]

    def begin(self) -> None:
        """Hold what an example begins with."""
        for site in self._sites:
            self._background.call(site.hold(*configs()))

    def change(self, change: PutItem | DropItem) -> None:
        """In the first environment."""
        for site in self._sites:
            self._background.call(_apply(site, change))

    def pass_half_an_hour(self) -> None:
        """Addresses change."""
        for clock in self._clocks:
            clock.jump(HALF_AN_HOUR)

    def ask(self, body: bytes, key: str, *tags: str) -> Response:
        """Of the proxy."""
        return self._asked(self._sites[0], body, key, tags)

    def evaluate(self, body: bytes, key: str) -> Response:
        """What is to be answered now."""
        return self._asked(self._sites[1], body, key, ())

    def _asked(self, site: Site, body: bytes, key: str, tags: tuple[str, ...]) -> Response:
        headers = {"X-API-Key": key}
        if tags:
            headers["If-None-Match"] = ", ".join(tags)
        raw = self._background.call(converse(site, [message("POST", BULK, headers, body)]))
        head, _, content = raw.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = tuple((name, value) for name, _, value in (text.partition(": ") for text in lines))
        return Response(int(line.split(" ")[1]), fields, content, raw)


async def _serve(site: Site, up: asyncio.Event, over: asyncio.Event) -> None:
    async with serving(site, *configs()):
        up.set()
        await over.wait()


async def _apply(site: Site, change: PutItem | DropItem) -> None:
    await site.store.configs.apply(ENVIRONMENT, change)
    await site.snapshots.resync()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Both, for all examples."""
    with Background() as background:
        yield Pair(background)
        assert background.errors == []


LOOK_ALIKES = (
    *('""', '"ann"', '"bob"', '"gold"', "null", "true", '"true"', "1", "1.0", '"1"', "1e0", "0", "-0.0"),
    *("[]", "[1]", '["1"]', "{}", '{"a":1}', '{"a":null}', "1e999", "1180591620717411303424", '"\\ud800"'),
)
"""Values that are easily taken for each other, as texts of JSON."""

VALUES = st.sampled_from(LOOK_ALIKES) | st.text(max_size=3).map(json.dumps)
NAMES = st.sampled_from(["plan", "x", "name", "anonymous", "targetingKey"])
MEMBERS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
CONTEXTS = st.one_of(MEMBERS.map(lambda members: [("targetingKey", '"ann"'), *members]), MEMBERS)
Change = Callable[..., Item]
"""Makes an item of a ``version``."""

CHANGES = st.one_of(
    st.builds(
        partial,
        st.just(share_by),
        st.sampled_from(ATTRIBUTES),
        shift=st.integers(0, 2),
        on=st.booleans(),
    ),
    st.builds(partial, st.just(beta), st.sampled_from(["ann", "bob", "1"])),
    st.builds(partial, st.just(flag), st.sampled_from(["new", "by-name"])),
    st.builds(DropItem, st.just(Domain.FLAG), st.sampled_from(["by-name", "by-group", "new"])),
)
Context = list[tuple[str, str]]
Step = tuple[Context, bool, str] | Change | DropItem | None


def written(context: Context, *, turned: bool) -> bytes:
    """The body; ``turned`` writes the same context in other words, unless a name comes twice."""
    members = list(reversed(context)) if turned and len(dict(context)) == len(context) else context
    between = " ,\n " if turned else ","
    inner = between.join(f"{json.dumps(name)}:{value}" for name, value in members)
    return f'{{"context":{{{inner}}}}}'.encode()


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    """What happens: few contexts, hardly different, are asked for again and again between changes."""
    context = draw(CONTEXTS)
    edits = draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))
    known = [context, *(list((dict(context) | {name: value}).items()) for name, value in edits)]
    asked = st.tuples(st.sampled_from(known), st.booleans(), st.sampled_from([KEY, *KEYS]))
    return draw(st.lists(st.one_of(asked, asked, asked, asked, CHANGES, st.none()), min_size=2, max_size=20))


ANN: Context = [("targetingKey", '"ann"'), ("plan", '"gold"')]
UPGRADED: Context = [("targetingKey", '"ann"'), ("plan", '"free"')]


@settings(max_examples=examples(2), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stories(), st.data())
@example([(ANN, False, KEY), (UPGRADED, False, KEY), (ANN, True, KEY)], None)
@example([(ANN, False, KEY), partial(share_by, "x", on=False), (ANN, False, KEY)], None)
@example([(ANN, False, KEY), (ANN, False, KEYS[1]), (ANN, False, KEYS[2])], None)
@example([([*ANN, (name, value)], False, KEY) for name in ("x", "name") for value in LOOK_ALIKES], None)
@example([(ANN, False, KEY), None, (ANN, False, KEY)], None)
def test_what_is_said_to_be_unchanged_is(pair: Pair, story: list[Step], data: st.DataObject | None) -> None:
    """With the tags of any answers before, those to other contexts, keys and environments included."""
    pair.begin()
    given_out: dict[str, bytes] = {}
    version = 1
    for step in story:
        version += 1
        if step is None:
            pair.pass_half_an_hour()
            continue
        if not isinstance(step, tuple):
            pair.change(step if isinstance(step, DropItem) else PutItem(step(version=version)))
            continue
        context, turned, key = step
        body = written(context, turned=turned)
        tags = list(given_out)
        if data is not None and tags:
            tags = data.draw(st.just(tags) | st.lists(st.sampled_from(tags), unique=True), label="tags")
        got = pair.ask(body, key, *tags)
        wanted = pair.evaluate(body, key)
        tag = got.field("etag") or ""
        if got.status == 304:
            assert tag in tags
            assert (given_out[tag], tag) == (wanted.body, wanted.field("etag"))
        else:
            assert got.undated == wanted.undated
            assert tag not in tags
            if got.status == 200:
                given_out[tag] = got.body
