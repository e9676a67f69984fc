"""What SDKs read, under load, compared with nginx serving the same bytes and with other described peers."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from bench.common.contest import Contest, Scenario
from bench.common.environments import Made
from bench.common.peers import NGINX, running_peer
from bench.common.plan import Plan
from bench.common.results import Table
from bench.common.site import Site, site
from bench.common.workers import with_workers
from bench.common.wrk import NUMBER, Request, base64_of

_SIZES = (10, 100, 1000)
_RULED = Made("ruled", 100, rules=5)
_KNOWN = 1000
# A line that no other request has: clients and proxies add such things, and no answer depends on them.
_TRACE = {"X-Trace": f"trace-{NUMBER}"}
_ABOUT_FLAGS = (
    "GET feature-configs. Polled: the same bytes again, as SDKs send them; first time: a header line in each"
    " request that never came before; unchanged: with the present ETag, so 304."
)
_ABOUT_OTHERS = "GET of one flag, and of the target groups in both forms."
_ABOUT_EVALUATIONS = (
    "GET evaluations of every flag, or of one. The same target; 1,000 targets that come back; targets that"
    " were never seen, known by identifier alone or described in a Harness-Target header of 200 bytes."
)

_ABOUT_WORKERS = (
    "Two workers beside one process in turns, 100 flags, for evaluations with 5 rules each. wrk takes a core"
    " meanwhile, so two workers can do more than one only where a request costs them more than it costs wrk."
)


def measure(plan: Plan) -> Iterator[Table]:
    """The tables; raises ``BenchError`` if a server fails."""
    sizes = [Made(f"flags-{size}", size) for size in plan.pick(_SIZES, (10,))]
    with ExitStack() as stack:
        own = stack.enter_context(site([*sizes, _RULED]))
        peers = [stack.enter_context(running_peer(path, own)) for path in (NGINX, *plan.peers)]
        contest = Contest(own, peers, rounds=plan.pick(5, 1), quick=plan.quick)
        tables = [(contest, f"Flags, {made.flags}", _ABOUT_FLAGS, _flags(own, made)) for made in sizes]
        fewer = replace(contest, rounds=plan.pick(3, 1))
        evaluations = [case for made in (*sizes, _RULED) for case in _targets(own, made)]
        tables += [
            (fewer, "One flag, target groups", _ABOUT_OTHERS, _others(own, sizes[-1])),
            (fewer, "Evaluations", _ABOUT_EVALUATIONS, evaluations),
        ]
        for asked, title, about, scenarios in tables:
            chosen = [one for one in scenarios if plan.wants(one.label)]
            if chosen:
                yield asked.table(title, about, plan.pick(chosen, chosen[:1]))
        if not plan.quick:
            yield from _with_workers(own, sizes, plan)


def _with_workers(alone: Site, sizes: Sequence[Made], plan: Plan) -> Iterator[Table]:
    with with_workers(alone, [sizes[1], _RULED], rounds=3, quick=plan.quick) as beside:
        if beside is not None:
            scenarios = [*_flags(beside.site, sizes[1])[:2], *_targets(beside.site, _RULED)]
            chosen = [one for one in scenarios if plan.wants(one.label)]
            yield beside.table("Two workers", _ABOUT_WORKERS, chosen)


def _flags(own: Site, made: Made) -> list[Scenario]:
    bearer = own.bearer(made)
    path = f"/client/env/{made.id}/feature-configs"
    plain, traced = Request(path, bearer), Request(path, bearer | _TRACE)
    return [
        Scenario("polled", "flags", made, plain),
        Scenario("first time", "flags", made, traced),
        Scenario("unchanged", "flags", made, plain, unchanged=True),
        Scenario("unchanged, first time", "flags", made, traced, unchanged=True),
        Scenario(
            "polled, gzip", "flags", made, Request(path, bearer | {"Accept-Encoding": "gzip"}), peers=False
        ),
    ]


def _others(own: Site, made: Made) -> list[Scenario]:
    bearer = own.bearer(made)
    flag = f"/client/env/{made.id}/feature-configs/feature-1"
    segments = f"/client/env/{made.id}/target-segments"
    return [
        Scenario("one flag, polled", "flag", made, Request(flag, bearer)),
        Scenario("one flag, first time", "flag", made, Request(flag, bearer | _TRACE)),
        Scenario("one flag, unchanged", "flag", made, Request(flag, bearer), unchanged=True),
        Scenario("target groups, polled", "segments", made, Request(segments, bearer)),
        Scenario("target groups, unchanged", "segments", made, Request(segments, bearer), unchanged=True),
        Scenario(
            "target groups, rules=v2, polled",
            "segments",
            made,
            Request(f"{segments}?rules=v2", bearer),
            peers=False,
        ),
    ]


def _targets(own: Site, made: Made) -> list[Scenario]:
    bearer = own.bearer(made)
    base = f"/client/env/{made.id}/target"
    label = f"{made.flags} flags" if made.rules == 1 else f"{made.flags} flags, {made.rules} rules each"
    every = f"{base}/{NUMBER}/evaluations"
    cases = [Scenario(f"{label}, new targets", "new-evaluations", made, Request(every, bearer))]
    if made is not _RULED:
        return cases
    described = bearer | {"Harness-Target": _described()}
    one = f"{every}/feature-1"
    return [
        *cases,
        Scenario(f"{label}, same target", "evaluations", made, Request(f"{base}/user-1/evaluations", bearer)),
        Scenario(
            f"{label}, returning targets",
            "known-evaluations",
            made,
            Request(every, bearer, several=_KNOWN),
        ),
        Scenario(
            f"{label}, new targets, described",
            "new-evaluations",
            made,
            Request(every, described),
        ),
        Scenario(f"{label}, one of them, new targets", "evaluation", made, Request(one, bearer), peers=False),
    ]


def _described() -> str:
    attributes = {"plan": "team", "country": "DE", "email": f"user-{NUMBER}@example.com", "age": 44}
    target = {"identifier": NUMBER, "name": f"User {NUMBER}", "anonymous": False, "attributes": attributes}
    return base64_of(json.dumps(target))
