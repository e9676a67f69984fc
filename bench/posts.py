"""What SDKs send, under load: authentication and usage."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

from bench.common.contest import Contest, Scenario
from bench.common.environments import Made
from bench.common.peers import running_peer
from bench.common.plan import Plan
from bench.common.results import Table
from bench.common.site import site
from bench.common.wrk import NUMBER, Request

_ENVIRONMENT = Made("posts", 100)
_JSON = {"Content-Type": "application/json"}
_ABOUT = (
    "POST /client/auth with a server key, for one target and for targets that were never seen; POST /metrics"
    " as SDKs send it, of about 1 and 20 kB, the same counts again and counts of targets that differ."
)


def measure(plan: Plan) -> Iterator[Table]:
    """The table; raises ``BenchError`` if a server does not do its part."""
    with ExitStack() as stack:
        own = stack.enter_context(site([_ENVIRONMENT]))
        peers = [stack.enter_context(running_peer(path, own)) for path in plan.peers]
        contest = Contest(own, peers, rounds=plan.pick(5, 1), seconds=1)
        fields = _JSON | own.bearer(_ENVIRONMENT)
        scenarios = [
            _case("auth, same target", "auth", _auth("user-1"), _JSON),
            _case("auth, new targets", "auth", _auth(f"user-{NUMBER}"), _JSON),
            _case("usage, 1 kB", "usage", usage_body(3), fields),
            _case("usage, 20 kB", "usage", usage_body(64), fields),
            # So many that wrk can hold them, and more than are merged in the time of a run.
            _case("usage, 20 kB, differing targets", "usage", usage_body(64, NUMBER), fields, several=2000),
        ]
        yield contest.table(
            "Posts", _ABOUT, plan.pick([s for s in scenarios if plan.wants(s.label)], scenarios[1:3])
        )


def usage_body(entries: int, target: str = "global") -> str:
    """A post with so many counts of about 300 bytes, each of another flag, as server SDKs write it."""
    attributes = {"SDK_TYPE": "server", "SDK_LANGUAGE": "python", "SDK_VERSION": "1.7.5", "target": target}
    counts = [
        {
            "timestamp": 1_700_000_000_000,
            "count": 7,
            "metricsType": "FFMETRICS",
            "attributes": [
                {"key": key, "value": value}
                for key, value in {
                    "featureIdentifier": f"feature-{number}",
                    "featureName": f"feature-{number}",
                    "variationIdentifier": "two",
                    **attributes,
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
