"""The page's third part: what it takes when members end, and when something changes."""

from collections.abc import Iterator
from dataclasses import replace

from bench.capacity import formulas
from bench.capacity.examples import STORMY
from bench.capacity.formulas import Fleet
from bench.capacity.sdks import CLIENTS, SERVERS, Mix
from bench.capacity.units import Units
from bench.capacity.wording import number, seconds, table


def happenings(units: Units) -> Iterator[str]:
    """For each of the example fleets."""
    yield "## When something happens"
    yield (
        "Members are killed, and all their SDKs come back at the same moment, each with what it fetches on"
        " its way: this is the work that it makes for the members, behind their start if all of them start"
        " again. In truth SDKs wait before they come back, each for its own time:"
        f" {_waits(SERVERS)}; {_waits(CLIENTS)}. An SDK is back after the longer of the two, its wait or the"
        " work. Where the work takes more than some ten seconds, SDKs give up and ask again, and it takes"
        " longer still. Ruby's SDK never streams again and is left out. A member that is asked to stop makes"
        " the same work as one that is killed, over its `shutdown-delay`, and a rolling deploy makes it once"
        " for each member. When a machine vanishes, its SDKs notice after 30 to 60 seconds without a byte."
    )
    for name, case in STORMY.items():
        given = formulas.fleet(case, units)
        if given is None:
            continue
        member = case.member
        cores = f"{member.cores} core{'s' if member.cores > 1 else ''}"
        yield f"### {name}: {given.members:,} members of {cores}"
        yield happening(given)


def happening(given: Fleet) -> str:
    """What it costs a fleet, in two tables."""
    case, units = given.case, given.units
    rows = [
        _lost("a member is killed", given, case.streaming / given.members, formulas.member_back(given)),
        _lost("all members restart", given, case.streaming, formulas.fleet_back(given)),
    ]
    through_tls = formulas.fleet(replace(case, tls=True), units)
    if through_tls is not None and not case.tls:
        name = f"all restart, through TLS: {through_tls.members:,} members"
        rows.append(_lost(name, through_tls, case.streaming, formulas.fleet_back(through_tls)))
    lost = table(["", "SDKs concerned", "back after", "CPU of each Redis"], rows)
    flip, ten = (formulas.changes_seconds(given, changes) for changes in (1, 10))
    known = [
        ["one flip", seconds(flip)],
        ["ten flips in one moment", seconds(ten)],
        ["a flip as the leader dies", seconds(units.takeover + flip)],
    ]
    return f"{lost}\n\n{table(['', 'all have it in'], known)}"


def _lost(name: str, given: Fleet, lost: float, back: float) -> list[str]:
    return [name, number(lost), seconds(back), seconds(formulas.redis_back(given, lost))]


def _waits(mix: Mix) -> str:
    return ", ".join(f"{sdk.name} {_wait(sdk.waits)}" for sdk, _ in mix)


def _wait(most: float) -> str:
    return f"up to {most:g} s" if most else "not at all"
