"""OpenFeature's remote evaluation under load, of one flag and of all, beside other servers."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

from bench.common.contest import Contest, Scenario
from bench.common.environments import Made
from bench.common.peer_flags import write_peer_flags
from bench.common.peers import running_peer
from bench.common.plan import Plan
from bench.common.results import Table
from bench.common.site import Site, site
from bench.common.wrk import NUMBER, Request

_ENVIRONMENT = Made("ofrep", 100)
_PATH = "/ofrep/v1/evaluate/flags"
_RETURNING = 1000
_ABOUT = (
    "POST of a context of six attributes, for one flag and for all 100 of an environment. New: contexts that"
    " were never seen; returning: 1,000 that come again; unchanged: with the present ETag, so 304. A peer has"
    " as many flags with the same rules, without prerequisites."
)
_ABOUT_EVALUATIONS = (
    "GET evaluations of the same flags for the same targets, as SDKs of Harness ask for them."
)


def measure(plan: Plan) -> Iterator[Table]:
    """The tables; raises ``BenchError`` if a server fails."""
    with ExitStack() as stack:
        own = stack.enter_context(site([_ENVIRONMENT]))
        write_peer_flags(own.directory, _ENVIRONMENT)
        peers = [stack.enter_context(running_peer(path, own)) for path in plan.peers]
        contest = Contest(own, peers, rounds=plan.pick(5, 1), quick=plan.quick)
        tables = ((_ABOUT, "OFREP", _contexts()), (_ABOUT_EVALUATIONS, "The SDKs' way", _evaluations(own)))
        for about, title, scenarios in tables:
            chosen = [one for one in scenarios if plan.wants(one.label)]
            if chosen:
                yield contest.table(title, about, plan.pick(chosen, chosen[:2]))


def _contexts() -> list[Scenario]:
    return [
        _case("one flag, new contexts", "ofrep-flag"),
        _case("one flag, returning contexts", "ofrep-flag", several=_RETURNING),
        _case("every flag, new contexts", "ofrep-flags"),
        _case("every flag, returning contexts", "ofrep-flags", several=_RETURNING),
        _case("every flag, unchanged", "ofrep-flags", unchanged=True),
    ]


def _case(label: str, kind: str, *, several: int | None = None, unchanged: bool = False) -> Scenario:
    path = f"{_PATH}/feature-1" if kind == "ofrep-flag" else _PATH
    headers = {"Content-Type": "application/json", "X-API-Key": _ENVIRONMENT.key}
    body = json.dumps({"context": _context("1" if unchanged else NUMBER)})
    request = Request(path, headers, "POST", body, several)
    return Scenario(label, kind, _ENVIRONMENT, request, unchanged=unchanged)


def _context(number: str) -> dict[str, object]:
    attributes = {"plan": "team", "country": "DE", "version": "2.3", "browser": "Firefox"}
    return {"targetingKey": f"user-{number}", **attributes, "email": f"user-{number}@example.com"}


def _evaluations(own: Site) -> list[Scenario]:
    path = f"/client/env/{_ENVIRONMENT.id}/target/user-{NUMBER}/evaluations"
    bearer = own.bearer(_ENVIRONMENT)
    return [
        Scenario(
            f"every flag, {what} targets",
            "evaluations",
            _ENVIRONMENT,
            Request(path, bearer, several=several),
            peers=False,
        )
        for what, several in (("new", None), ("returning", _RETURNING))
    ]
