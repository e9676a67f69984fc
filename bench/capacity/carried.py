"""The page's first part: what one core, one gigabyte and one Redis carry, and how that grows."""

import math
from collections.abc import Iterator
from dataclasses import replace

from bench.capacity import formulas
from bench.capacity.case import Case
from bench.capacity.examples import KINDS, SESSION, SMALL
from bench.capacity.units import Units
from bench.capacity.wording import micros, number, seconds, size, table

_FLAGS = (10, 100, 1000, 5000)
_HALF = 0.5


def members_carry(units: Units) -> Iterator[str]:
    """What each resource of a member is enough for."""
    yield "## What one core, one gigabyte and one network carry"
    yield (
        "SDKs for which each is enough by itself: with half of the core and of the network in use, 100 flags"
        " in one environment, one change a minute, 10 counts in each post of usage, client SDKs that stay"
        f" {SESSION:.0f} minutes. The last column is a member of 1 core, 2 GB, 65,536 files and 1 Gbit/s."
    )
    rows = []
    for name, case in [*KINDS.items(), *_through_tls()]:
        found = {need.reason: need.members for need in formulas.needs(replace(case, member=SMALL), units)}
        gigabyte = _at_most(case.sdks * 1e9, formulas.memory(case, units)[1])
        fits = [_at_most(case.sdks, found[reason]) for reason in _REASONS]
        factor, reason = formulas.carried(replace(case, member=SMALL), units)
        member = f"**{number(case.sdks * factor)}**, then {reason}"
        rows.append([name, fits[0], gigabyte, *fits[1:], member])
    yield table(["", "one core", "1 GB for connections", "65,536 files", "1 Gbit/s", "one member"], rows)
    yield (
        "A process holds"
        f" {size(units.process_bytes)} before anything else, {size(units.environment_bytes)} for each"
        f" environment and {size(units.flag_bytes)} for each flag in it; with several workers each of them"
        f" does. A stream takes {size(units.stream_bytes)}, through TLS {size(units.tls_bytes)} more."
    )


def _at_most(given: float, each: float) -> str:
    """How many times ``each`` fits into what is given; unlimited if ``each`` is nothing."""
    return number(given / each if each > 0 else math.inf)


_REASONS = ("CPU", "open files", "network")


def _through_tls() -> Iterator[tuple[str, Case]]:
    name = "client SDKs that stream"
    yield f"{name}, TLS", replace(KINDS[name], tls=True)


def redis_carries(units: Units) -> Iterator[str]:
    """What Redis is enough for."""
    redis = units.redis
    yield "## What one Redis carries"
    yield "With half of its one core in use, for one of these alone:"
    told = [redis.change.cpu + redis.told.cpu * (count - 1) for count in (10, 100, 1000)]
    rows = [
        ["members, 1 environment, nothing happens", _at_most(_HALF, (redis.member + redis.followed).cpu)],
        ["members, 100 environments", _at_most(_HALF, (redis.member + redis.followed * 100).cpu)],
        ["changes a second, 10 members", _at_most(_HALF, told[0])],
        ["changes a second, 100 members", _at_most(_HALF, told[1])],
        ["changes a second, 1,000 members", _at_most(_HALF, told[2])],
        ["evaluations a second", _at_most(_HALF, redis.evaluation.cpu)],
        ["new targets a second", _at_most(_HALF, redis.auth.cpu)],
        ["counts of usage a second, none of which merge", _at_most(_HALF, redis.count.cpu)],
        ["flags in 1 GB", _at_most(1e9, redis.flag_bytes)],
        ["targets in 1 GB", _at_most(1e9, redis.target_bytes)],
    ]
    yield table(["", "at most"], rows)
    yield (
        f"A change is {number(redis.change.commands)} commands and {size(redis.change.bytes)} for the member"
        f" that writes it, {number(redis.told.commands)} commands and {size(redis.told.bytes)} for each other"
        " one. A Cluster shares the work out by environment: it helps as far as there are several, and one"
        " environment is never on more than one node. If the member that follows Harness dies, another one"
        f" does after {seconds(units.takeover)}."
    )


def growth(units: Units) -> Iterator[str]:
    """How cost grows with flags, targets, SDKs and changes."""
    yield "## How cost grows"
    rows = []
    for flags in _FLAGS:
        held = units.environment_bytes + flags * units.flag_bytes
        row = [
            micros(units.poll.at(flags)),
            size(units.body.at(flags)),
            micros(units.evaluations.at(flags)),
            size(held),
        ]
        rows.append([f"{flags:,} flags", *row])
    headings = ["", "CPU of a poll", "its body, gzip", "CPU of all evaluations", "memory of the environment"]
    yield table(headings, rows)
    yield (
        "CPU in cores, over all members; `N` SDKs, `C` changes a minute in each environment, `U` counts in a"
        " post:"
    )
    beat = f"N / 14 * {micros(units.heartbeat)}"
    flag = micros(units.event + units.flag)
    evaluation = micros(units.event + formulas.evaluation_fetched(units))
    arrival = micros(formulas.arrival(Case(flags=100), units))
    rows = [
        ["server SDKs that poll", f"`N / 60 * {micros(units.poll.at(100) + units.groups)}`, 100 flags"],
        ["server SDKs that stream", f"`{beat} + N * C / 60 * {flag}`"],
        ["client SDKs that stream", f"`{beat} + N * C / 60 * {evaluation}`"],
        ["client SDKs that stay M minutes, besides", f"`N / (60 * M) * {arrival}`, 100 flags"],
        ["usage of each", f"`N / 60 * ({micros(units.post)} + U * {micros(units.count)})`"],
    ]
    yield table(["", "cores"], rows)
    yield (
        "With flags grow polls, evaluations of everything, memory and start-up; single fetches and events do"
        " not. With targets grows Redis' memory, and with those that are new, its work. With SDKs everything"
        " grows in proportion, but for what Redis is asked about revisions: members share those questions."
        " With changes grow events and fetches, and for Redis changes times members. No official SDK asks"
        " with an ETag, so that 304s save nothing with them."
    )
