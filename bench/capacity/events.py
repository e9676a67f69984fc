"""The page's third part: what happens to fleets, simulated."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bench.capacity import scenarios
from bench.capacity.examples import STORMY
from bench.capacity.scenarios import Fleet
from bench.capacity.storm import Told
from bench.capacity.units import Units
from bench.capacity.wording import number, seconds, share, table
from bench.common.results import Report
from bench.common.text import as_markdown

_STORM = [
    "",
    "SDKs concerned",
    "half back in",
    "99 %",
    "all",
    "longest queue",
    "busiest second",
    "refused",
    "gave up",
    "CPU of each Redis",
]
_NEWS = ["", "half have it in", "99 %", "all", "busiest second", "busiest second of Redis"]


def happenings(units: Units) -> Iterator[str]:
    """Storms and news for each of the example fleets."""
    yield "## When something happens"
    yield (
        "Simulated with what each SDK does when its stream ends: Java and .NET come back at once, Python"
        " after 3 seconds, Go after about 1, Node after 5 to 10, JavaScript after 1 to 30, Android and iOS"
        " after 60, with what they fetch on the way; the same with nobody waiting stands beside it. Times are"
        " from the loss of a stream to the next; the queue is the longest wait of any request for its turn;"
        " the busiest second is of any member's free CPU; refused and gave up are attempts, as a share of the"
        " SDKs concerned; the last column is work for Redis, which authentications wait for a second at most."
        " Ruby's SDK never streams again and is left out."
    )
    for name, case in STORMY.items():
        given = scenarios.fleet(case, units)
        if given is None:
            continue
        yield f"### {name}: {_members(given)}"
        told = dict(scenarios.storms(given))
        yield _storms(told, given)
        yield _lesson(told)
        yield news(given)
    yield from _through_tls(units)


def storms(given: Fleet) -> str:
    """What makes SDKs lose their streams, in a table."""
    return _storms(dict(scenarios.storms(given)), given)


def news(given: Fleet) -> str:
    """How soon changes are everywhere, in a table."""
    rows = [
        [name, seconds(one.half), seconds(one.most), seconds(one.last), share(one.peak), share(one.redis)]
        for name, one in scenarios.news(given)
    ]
    return table(_NEWS, rows)


def _storms(told: Mapping[str, Told], given: Fleet) -> str:
    return table(_STORM, [_storm(name, one, given) for name, one in told.items()])


def _lesson(told: Mapping[str, Told]) -> str:
    turns, fewest = told[scenarios.DEPLOY_IN_TURN], told[scenarios.DEPLOY_TO_FEWEST]
    jitter, none = told[scenarios.RESTART], told[scenarios.RESTART_AT_ONCE]
    return (
        f"In a rolling deploy the last SDK is back after {seconds(turns.last)} if the balancer gives each"
        f" member its turn, and the fullest member has {number(turns.uneven)} times the average then; after"
        f" {seconds(fewest.last)} if it chooses the one with the fewest streams. After a restart of all, a"
        f" request waits for its turn for {seconds(jitter.queue)} at most with what SDKs wait between"
        f" attempts, {seconds(none.queue)} if none waits."
    )


def _storm(name: str, told: Told, given: Fleet) -> list[str]:
    sdks = max(1.0, told.sdks)
    times = [seconds(told.half), seconds(told.most), seconds(told.last), seconds(told.queue)]
    return [
        name,
        number(told.sdks),
        *times,
        share(told.peak),
        share(told.refused / sdks),
        share(told.given_up / sdks),
        seconds(scenarios.redis_seconds(told, given)),
    ]


def _members(given: Fleet) -> str:
    member = given.case.member
    return f"{given.members:,} members of {member.cores} core{'s' if member.cores > 1 else ''}"


def _through_tls(units: Units) -> Iterator[str]:
    name, case = next(iter((name, case) for name, case in STORMY.items() if case.client))
    rows = []
    for way, tls in (("without TLS", False), ("with TLS", True)):
        given = scenarios.fleet(replace(case, tls=tls), units)
        if given is None:
            continue
        for happens, jitter in (("as SDKs come back", True), ("all at once", False)):
            told = scenarios.all_restart(given, jitter=jitter)
            rows.append(_storm(f"{way}, {happens}", told, given))
    yield f"### TLS: all members restart, {name}"
    yield table(_STORM, rows)


def reality(report: Report) -> Iterator[str]:
    """What was measured of a storm and of a change, beside their simulation."""
    yield "## Simulated and real"
    yield (
        "On one real process, beside what the simulation makes of the CPU that streams, events and fetches"
        " take (`make bench-storms`; the clients have the other core):"
    )
    try:
        tables = report.outcome("storms").tables
    except KeyError:
        tables = ()
    if not tables:
        yield "Not measured in this run."
    for one in tables:
        yield as_markdown(one)
