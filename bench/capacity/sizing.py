"""The page's second part: members for so many SDKs, and what breaks first."""

import math
from collections.abc import Iterator, Mapping

from bench.capacity import formulas
from bench.capacity.case import POLL_SECONDS, Case, Member
from bench.capacity.examples import KINDS, MEMBERS, SESSION, SIZES, SMALL, sized
from bench.capacity.units import Units
from bench.capacity.wording import number, seconds, share, table

_CHANGES = (1.0, 10.0)


def sizes(units: Units) -> Iterator[str]:
    """Members needed, for kinds, numbers and changes."""
    yield "## Members needed"
    yield (
        "100 flags, an environment (and a node of Redis) for every 100,000 SDKs, half of the CPU and four"
        f" fifths of memory and files in use, a change with everyone within {Case().within:.0f} seconds, a"
        " tenth of the members to spare (at least one), so that a rolling deploy by tenths and the death of a"
        " member leave enough. A small member has 1 core, 2 GB, 65,536 files, 1 Gbit/s; a large one 4 cores"
        " (`workers=4`), 8 GB, 262,144 files, 10 Gbit/s."
    )
    for kind in KINDS:
        headings = ["SDKs", "changes a minute", "small members", "large members", "one change everywhere in"]
        headings += ["CPU of each Redis"]
        rows = [
            _sized(kind, sdks, changes, units)
            for sdks in SIZES
            for changes in _CHANGES
            if changes == _CHANGES[0] or KINDS[kind].streaming
        ]
        yield f"**{kind[0].upper()}{kind[1:]}.**"
        yield table(headings, rows)
    yield _sentences(units)
    yield _harness()


def _sized(kind: str, sdks: int, changes: float, units: Units) -> list[str]:
    found = [_members(sized(kind, sdks, member, changes), units) for member in MEMBERS.values()]
    case = sized(kind, sdks, MEMBERS["large"], changes)
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
    for kind in KINDS:
        for sdks in SIZES[2:]:
            case = sized(kind, sdks, SMALL)
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


def _sentences(units: Units) -> str:
    lines = []
    for kind, sdks, changes in (
        ("server SDKs that poll", 10_000, 1),
        ("server SDKs that stream", 10_000, 1),
        ("client SDKs that stream", 100_000, 10),
    ):
        case = sized(kind, sdks, SMALL, changes)
        given = formulas.fleet(case, units)
        if given is not None:
            minute = "a change" if changes == 1 else f"{changes} changes"
            asked = formulas.redis(case, units, given.members)
            lines.append(
                f"- For {sdks:,} {kind} and {minute} a minute you need {given.members:,} small members and"
                f" one Redis, of which {share(asked.cpu)} of a core and {number(asked.bytes * 8 / 1e6)}"
                " Mbit/s are in use."
            )
    return "\n".join(lines)


def breaks(units: Units) -> Iterator[str]:
    """Which bound is reached at how many SDKs."""
    yield "## What breaks first"
    yield (
        "More members help against everything that a member runs out of. These bounds stay, and are reached"
        " at so many SDKs with as many small members as they need, one change a minute, one Redis, and client"
        f" SDKs that stay {SESSION:.0f} minutes:"
    )
    cases = {
        "server SDKs, 1 environment": Case(server=1000),
        "server SDKs, 100 environments": Case(server=1000, environments=100),
        "client SDKs, 1 environment": Case(client=1000, session=SESSION),
        "client SDKs, 100 environments": Case(client=1000, session=SESSION, environments=100),
    }
    found = {name: _reached(case, units) for name, case in cases.items()}
    rows = []
    for limit in formulas.limits(Case(client=1000, session=SESSION), units):
        reached = [one[limit.name] for one in found.values()]
        rows.append((min(reached), [limit.name, *map(_sdks, reached), limit.then]))
    rows.sort(key=lambda row: row[0])
    yield table(["", *cases, "what then"], [row for _, row in rows])
    yield "\n".join(f"- {name[0].upper()}{name[1:]}: {_first(reached)}." for name, reached in found.items())
    yield _one_member(units)


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


def _one_member(units: Units) -> str:
    parts = []
    for kind, case in KINDS.items():
        factor, reason = formulas.carried(case, units)
        parts.append(f"{kind} {number(case.sdks * factor)} ({reason})")
    return f"Of a small member alone, what breaks first is, for {'; '.join(parts)}."


def member_words(member: Member) -> str:
    """The resources of a member, in words."""
    cores = f"{member.cores} core{'s' if member.cores > 1 else ''}"
    network = f"{number(member.network * 8 / 1e9)} Gbit/s"
    return f"{cores}, {number(member.memory / 1e9)} GB, {member.files:,} files, {network}"
