"""What SDKs send, under load: authentication and usage."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from bench.common.contest import Contest, Scenario
from bench.common.environments import Made
from bench.common.peers import running_peer
from bench.common.plan import Plan
from bench.common.results import Table
from bench.common.site import Site, site
from bench.common.workers import with_workers
from bench.common.wrk import NUMBER, Request

_ENVIRONMENT = Made("posts", 100)
COUNT = 7
"""The count in each entry of a post."""
_SERVER_SDK = {"SDK_TYPE": "server", "SDK_LANGUAGE": "python", "SDK_VERSION": "1.7.5"}
_JSON = {"Content-Type": "application/json"}
_ABOUT_WORKERS = "The same of two workers, beside one process in turns; wrk takes a core meanwhile."
_ABOUT = (
    "POST /client/auth with a server key, for no target, for one and for targets never seen; POST /metrics as"
    " SDKs send it, of about 1 and 20 kB, the same counts again and counts of targets that differ."
)


def measure(plan: Plan) -> Iterator[Table]:
    """The tables; raises ``BenchError`` if a server fails."""
    with ExitStack() as stack:
        own = stack.enter_context(site([_ENVIRONMENT]))
        peers = [stack.enter_context(running_peer(path, own)) for path in plan.peers]
        contest = Contest(own, peers, rounds=plan.pick(5, 1), quick=plan.quick)
        chosen = plan.pick(_scenarios(own), _scenarios(own)[2:4])
        yield contest.table("Posts", _ABOUT, [one for one in chosen if plan.wants(one.label)])
        with with_workers(own, [_ENVIRONMENT], plan.pick(3, 1), quick=plan.quick) as beside:
            if beside is not None:
                chosen = plan.pick(_scenarios(beside.site), _scenarios(beside.site)[2:4])
                wanted = [one for one in chosen if plan.wants(one.label)]
                yield beside.table("Posts, two workers", _ABOUT_WORKERS, wanted)


def _scenarios(own: Site) -> list[Scenario]:
    fields = _JSON | own.bearer(_ENVIRONMENT)
    return [
        _case("auth, no target", "auth", json.dumps({"apiKey": _ENVIRONMENT.key}), _JSON),
        _case("auth, same target", "auth", _auth("user-1"), _JSON),
        _case("auth, new targets", "auth", _auth(f"user-{NUMBER}"), _JSON),
        _case("usage, 1 kB", "usage", usage_body(3), fields),
        _case("usage, 20 kB", "usage", usage_body(64), fields),
        # So many that wrk can hold them, and more than are merged in the time of a run.
        _case("usage, 20 kB, differing targets", "usage", usage_body(64, NUMBER), fields, several=2000),
    ]


def usage_body(
    entries: int, target: str = "global", count: int = COUNT, sdk: Mapping[str, str] = _SERVER_SDK
) -> str:
    """A post with ``entries`` counts of about 300 bytes, each of another flag, as SDKs write it.

    ``sdk`` holds the attributes by which the SDK names itself.
    """
    counts = [
        {
            "timestamp": 1_700_000_000_000,
            "count": count,
            "metricsType": "FFMETRICS",
            "attributes": [
                {"key": key, "value": value}
                for key, value in {
                    "featureIdentifier": f"feature-{number}",
                    "featureName": f"feature-{number}",
                    "variationIdentifier": "two",
                    **sdk,
                    "target": target,
                }.items()
            ],
        }
        for number in range(entries)
    ]
    return json.dumps({"metricsData": counts, "targetData": []}, separators=(",", ":"))


def _case(label: str, kind: str, body: str, headers: dict[str, str], several: int | None = None) -> Scenario:
    path = "/client/auth" if kind == "auth" else f"/metrics/{_ENVIRONMENT.id}"
    return Scenario(label, kind, _ENVIRONMENT, Request(path, headers, "POST", body, several))


def _auth(target: str) -> str:
    described = {"identifier": target, "name": target, "attributes": {"plan": "team", "country": "DE"}}
    return json.dumps({"apiKey": _ENVIRONMENT.key, "target": described})
