"""The sections of docs/capacity.md: each function writes one, from unit costs and formulas."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from bench.capacity import formulas
from bench.capacity.case import CLIENTS, POLL_SECONDS, SERVERS, Case, Member, Mix
from bench.capacity.formatting import micros, number, seconds, share, size, table
from bench.capacity.formulas import Fleet
from bench.capacity.units import Asked, Units

_SMALL = Member(cores=1, memory=2e9, files=65_536, network=1e9 / 8)
_LARGE = Member(cores=4, memory=8e9, files=262_144, network=10e9 / 8)
_MEMBERS: Mapping[str, Member] = {"small": _SMALL, "large": _LARGE}

_PER_ENVIRONMENT = 100_000
"""SDKs in an environment at most, in the examples."""
_SESSION = 10.0

_KINDS: Mapping[str, Case] = {
    "server SDKs that poll": Case(polling=1000),
    "server SDKs that stream": Case(server=1000),
    "client SDKs that stream": Case(client=1000, session=_SESSION),
}
"""A thousand of each."""

_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)

_STORMY: Mapping[str, Case] = {
    "100,000 server SDKs": Case(server=1e5, environments=1, member=_SMALL),
    "1,000,000 SDKs, nine of ten of them clients": Case(
        server=1e5, client=9e5, session=_SESSION, environments=10, member=_SMALL, nodes=10
    ),
    "10,000,000 SDKs, nine of ten of them clients": Case(
        server=1e6, client=9e6, session=_SESSION, environments=100, member=_LARGE, nodes=100
    ),
}


def _sized_case(kind: str, sdks: float, member: Member, changes: float = 1.0) -> Case:
    """That many SDKs of that kind, over a usual number of environments."""
    one = _KINDS[kind]
    environments = max(1, round(sdks / _PER_ENVIRONMENT))
    return replace(
        one.times(sdks / one.sdks),
        environments=environments,
        member=member,
        changes=changes,
        nodes=environments,
    )


_FLAGS = (10, 100, 1000, 5000)
_HALF = 0.5


def per_member(units: Units) -> Iterator[str]:
    """What each resource of a member serves."""
    yield "## What one core, one gigabyte and one network carry"
    yield (
        "How many SDKs each resource serves, if nothing else limits it: half of the core and of the network"
        " in use, 100 flags in one environment, one change a minute, 10 counts in each usage post, client"
        f" SDKs that stay {_SESSION:.0f} minutes. The last column is a member with 1 core, 2 GB, 65,536 files"
        " and 1 Gbit/s, and what limits it first."
    )
    rows = []
    for name, case in [*_KINDS.items(), *_through_tls()]:
        found = {need.reason: need.members for need in formulas.needs(replace(case, member=_SMALL), units)}
        gigabyte = _at_most(case.sdks * 1e9, formulas.memory(case, units)[1])
        fits = [_at_most(case.sdks, found[reason]) for reason in _REASONS]
        factor, reason = formulas.carried(replace(case, member=_SMALL), units)
        member = f"**{number(case.sdks * factor)}**, then {reason}"
        rows.append([name, fits[0], gigabyte, *fits[1:], member])
    yield table(["", "one core", "1 GB for connections", "65,536 files", "1 Gbit/s", "one member"], rows)
    yield (
        f"An empty process takes {size(units.process_bytes)}, an environment"
        f" {size(units.environment_bytes)}, a flag {size(units.flag_bytes)}, in each worker. A stream takes"
        f" {size(units.stream_bytes)}, with TLS {size(units.tls_bytes)} more."
    )


def _at_most(given: float, each: float) -> str:
    """How many times ``each`` fits into what is given; unlimited if ``each`` is nothing."""
    return number(given / each if each > 0 else math.inf)


_REASONS = ("CPU", "open files", "network")


def _through_tls() -> Iterator[tuple[str, Case]]:
    name = "client SDKs that stream"
    yield f"{name}, TLS", replace(_KINDS[name], tls=True)


def per_redis(units: Units) -> Iterator[str]:
    """What a Redis serves."""
    redis = units.redis
    yield "## What one Redis carries"
    yield "With half of its core in use, a Redis serves one of these:"
    told = [redis.change.cpu + redis.told.cpu * (count - 1) for count in (10, 100, 1000)]
    rows = [
        ["members, 1 environment, idle", _at_most(_HALF, (redis.member + redis.followed).cpu)],
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
        f"A change costs {number(redis.change.commands)} commands and {size(redis.change.bytes)} for the"
        f" member that writes it, and {number(redis.told.commands)} commands and {size(redis.told.bytes)} for"
        " each other member. A Cluster distributes environments over its nodes; one environment is always on"
        " one node. If the member that follows Harness dies, another one takes over after"
        f" {seconds(units.takeover)}."
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
        "Cores, over all members, for `N` SDKs, `C` changes a minute in each environment, and `U` counts in"
        " a post:"
    )
    beat = f"N / 14 * {micros(units.heartbeat)}"
    flag = micros(units.event + units.flag)
    evaluation = micros(units.event + formulas.evaluation_fetched(units))
    arrival = micros(formulas.arrival(Case(flags=100), units))
    rows = [
        ["server SDKs that poll", f"`N / 60 * {micros(units.poll.at(100) + units.groups)}`, 100 flags"],
        ["server SDKs that stream", f"`{beat} + N * C / 60 * {flag}`"],
        ["client SDKs that stream", f"`{beat} + N * C / 60 * {evaluation}`"],
        ["besides, client SDKs that stay M minutes", f"`N / (60 * M) * {arrival}`, 100 flags"],
        ["usage of each", f"`N / 60 * ({micros(units.post)} + U * {micros(units.count)})`"],
    ]
    yield table(["", "cores"], rows)
    yield (
        "More flags make polls, bulk evaluations, memory and start-up cost more, but not single fetches or"
        " events. More targets take more memory in Redis, and new ones more of its CPU. Everything grows in"
        " proportion to SDKs, except revision checks in Redis, which members share. Changes cost events and"
        " fetches, and Redis work for every member. 304s save nothing, because no official SDK sends an"
        " ETag."
    )


_CHANGES = (1.0, 10.0)


def members_needed(units: Units) -> Iterator[str]:
    """Members needed, for kinds, numbers and changes."""
    yield "## Members needed"
    yield (
        "For 100 flags, one environment (and Redis node) for every 100,000 SDKs, half of the CPU and four"
        f" fifths of memory and files in use, and changes that reach everyone within {Case().within:.0f}"
        " seconds. A tenth of the members, at least one, is spare: enough for a rolling deployment in tenths"
        " or a dead member. A small member has 1 core, 2 GB, 65,536 files and 1 Gbit/s; a large one"
        " has 4 cores (`workers=4`), 8 GB, 262,144 files and 10 Gbit/s."
    )
    for kind in _KINDS:
        headings = ["SDKs", "changes a minute", "small members", "large members", "one change everywhere in"]
        headings += ["CPU of each Redis"]
        rows = [
            _sized(kind, sdks, changes, units)
            for sdks in _SIZES
            for changes in _CHANGES
            if changes == _CHANGES[0] or _KINDS[kind].streaming
        ]
        yield f"**{kind[0].upper()}{kind[1:]}.**"
        yield table(headings, rows)
    yield _harness()


def _sized(kind: str, sdks: int, changes: float, units: Units) -> list[str]:
    found = [_members(_sized_case(kind, sdks, member, changes), units) for member in _MEMBERS.values()]
    case = _sized_case(kind, sdks, _MEMBERS["large"], changes)
    given = formulas.fleet(case, units)
    if given is None:
        return [f"{sdks:,}", f"{changes:g}", *found, "-", "-"]
    reached = formulas.reached_seconds(case, units, given.members) if case.streaming else POLL_SECONDS
    redis = formulas.redis(case, units, given.members).cpu / case.nodes
    return [
        f"{sdks:,}",
        f"{changes:g}",
        *found,
        seconds(reached),
        share(redis),
    ]


def _harness() -> str:
    rows = []
    for kind in _KINDS:
        for sdks in _SIZES[2:]:
            case = _sized_case(kind, sdks, _SMALL)
            seen = formulas.harness(case)
            lost = share(formulas.usage_lost(case))
            figures = [number(seen.streams), number(seen.posts), lost, number(seen.targets)]
            rows.append([f"{sdks:,} {kind}", *figures])
    headings = [
        "Harness sees of",
        "streams",
        "posts of usage a minute",
        "usage dropped",
        "new targets a second",
    ]
    return table(headings, rows)


def _members(case: Case, units: Units) -> str:
    given = formulas.fleet(case, units)
    reason = formulas.needs(case, units)[0].reason
    if given is None:
        return f"none is enough: {reason}"
    return f"{given.members:,} ({reason})" if given.members > 2 else f"{given.members:,}"


def fleet_bounds(units: Units) -> Iterator[str]:
    """At how many SDKs each limit is reached."""
    yield "## What breaks first"
    yield (
        "More members help against whatever limits a member. They do not help against these limits, which"
        " are reached at so many SDKs with as many small members as needed, one change a minute, one Redis,"
        f" and client SDKs that stay {_SESSION:.0f} minutes:"
    )
    cases = {
        "server SDKs, 1 environment": Case(server=1000),
        "server SDKs, 100 environments": Case(server=1000, environments=100),
        "client SDKs, 1 environment": Case(client=1000, session=_SESSION),
        "client SDKs, 100 environments": Case(client=1000, session=_SESSION, environments=100),
    }
    found = {name: _reached(case, units) for name, case in cases.items()}
    rows = []
    for limit in formulas.limits(Case(client=1000, session=_SESSION), units):
        reached = [one[limit.name] for one in found.values()]
        rows.append((min(reached), [limit.name, *map(_sdks, reached), limit.then]))
    rows.sort(key=lambda row: row[0])
    yield table(["", *cases, "what then"], [row for _, row in rows])
    yield "\n".join(f"- {name[0].upper()}{name[1:]}: {_first(reached)}." for name, reached in found.items())


def _reached(case: Case, units: Units) -> Mapping[str, float]:
    """The SDKs with which each limit is reached."""
    return {
        limit.name: formulas.reached_at(case, units, limit.name) * case.sdks
        for limit in formulas.limits(case, units)
    }


def _sdks(reached: float) -> str:
    # Beyond any real fleet, it says nothing.
    return "-" if math.isinf(reached) or reached > 1e9 else number(reached)


def _first(reached: Mapping[str, float]) -> str:
    name = min(reached, key=reached.__getitem__)
    return f"first {name}, at {number(reached[name])} SDKs"


def incidents(units: Units) -> Iterator[str]:
    """Restarts and changes, for each example fleet."""
    yield "## Restarts and changes"
    yield (
        "How long members need to serve all SDKs again that reconnect at the same moment after members were"
        " killed, including the start if all restart. In practice SDKs wait for different times before they"
        f" reconnect: {_waits(SERVERS)}; {_waits(CLIENTS)}. An SDK is back after the longer of the two, its"
        " wait or this work. If the work takes more than about ten seconds, SDKs give up and try again, which"
        " takes longer. Ruby's SDK never streams again and is left out. A member that stops in order causes"
        " the same work, spread over its `shutdown-delay`; a rolling deployment causes it once for each"
        " member. If a machine vanishes, its SDKs notice after 30 to 60 seconds without data."
    )
    for name, case in _STORMY.items():
        given = formulas.fleet(case, units)
        if given is None:
            continue
        member = case.member
        cores = f"{member.cores} core{'s' if member.cores > 1 else ''}"
        yield f"### {name}: {given.members:,} members of {cores}"
        yield incident(given)


def incident(given: Fleet) -> str:
    """Restarts and changes of one fleet, in two tables."""
    case, units = given.case, given.units
    rows = [
        _lost("a member is killed", given, case.streaming / given.members, formulas.member_back(given)),
        _lost("all members restart", given, case.streaming, formulas.fleet_back(given)),
    ]
    through_tls = formulas.fleet(replace(case, tls=True), units)
    if through_tls is not None and not case.tls:
        name = f"all restart, through TLS: {through_tls.members:,} members"
        rows.append(_lost(name, through_tls, case.streaming, formulas.fleet_back(through_tls)))
    lost = table(["", "SDKs", "back after", "CPU of each Redis"], rows)
    flip, ten = (formulas.changes_seconds(given, changes) for changes in (1, 10))
    known = [
        ["one flip", seconds(flip)],
        ["ten flips at once", seconds(ten)],
        ["a flip while the leader dies", seconds(units.takeover + flip)],
    ]
    return f"{lost}\n\n{table(['', 'reaches everyone in'], known)}"


def _lost(name: str, given: Fleet, lost: float, back: float) -> list[str]:
    return [name, number(lost), seconds(back), seconds(formulas.redis_back(given, lost))]


def _waits(mix: Mix) -> str:
    return ", ".join(f"{sdk.name} {_wait(sdk.waits)}" for sdk, _ in mix)


def _wait(most: float) -> str:
    return f"up to {most:g} s" if most else "not at all"


def unit_costs(units: Units) -> Iterator[str]:
    """CPU and memory of members, and what Redis is asked."""
    yield "## Unit costs"
    yield "Derived from the measurements in `docs/performance.md`."
    rows = [
        ["flags and target groups polled, 100 flags", micros(units.poll.at(100) + units.groups), "reads"],
        ["one flag fetched, Redis asked", micros(units.flag), "fleet"],
        ["all evaluations, 100 flags, a new target", micros(units.evaluations.at(100)), "reads, fleet"],
        ["one evaluation, a new target", micros(units.evaluation), "reads, fleet"],
        ["authentication of a new target", micros(units.auth), "fleet"],
        ["a post of usage", micros(units.post), "fleet"],
        ["each count in it", micros(units.count), "fleet"],
        ["a new connection", micros(units.connection), "connections"],
        ["a preflight of a browser", micros(units.preflight), "connections"],
        ["a stream opened, alone", micros(units.stream), "connections"],
        ["a stream opened, in a crowd", micros(units.stream_of_many), "connections"],
        ["TLS for a connection", micros(units.handshake), "connections"],
        ["a heartbeat", micros(units.heartbeat), "connections"],
        ["an event, each stream", micros(units.event), "streams"],
    ]
    yield table(["CPU of a member", "", "benchmark"], rows)
    rows = [
        ["a process", size(units.process_bytes), "startup"],
        ["an environment", size(units.environment_bytes), "startup"],
        ["a flag", size(units.flag_bytes), "startup"],
        ["a stream", size(units.stream_bytes), "streams"],
        ["a connection that waits for a request", size(units.connection_bytes), "connections"],
        ["TLS of a stream or connection", size(units.tls_bytes), "connections"],
        ["start to ready, one small environment", seconds(units.ready.points[0][1]), "startup"],
        ["another member follows Harness after", seconds(units.takeover), "fleet"],
    ]
    yield table(["memory and time of a member", "", "benchmark"], rows)
    redis = units.redis
    asked = {
        "a second of a member": redis.member,
        "a second of an environment, by the member that leads it": redis.led,
        "a second of an environment, by each other member": redis.followed,
        "a change, by the member that writes it": redis.change,
        "a change, by each other member": redis.told,
        "a flag fetched": redis.fetch,
        "evaluations, many at a time": redis.evaluation,
        "authentication of new targets, many at a time": redis.auth,
        "usage handed on, each time": redis.post,
        "a count in it, until Harness has it": redis.count,
    }
    yield table(
        ["asked of Redis", "commands", "bytes", "CPU"], [_asked(name, one) for name, one in asked.items()]
    )


def _asked(name: str, one: Asked) -> list[str]:
    return [name, number(one.commands), size(one.bytes), micros(one.cpu)]
