"""``ff-proxy explain``: every step that led to a variation."""

from ff_proxy.evaluation import render
from ff_proxy.model.target import Target
from tests.support.engines import ALICE, clause, engine_of, feature, in_segments, rollout, rule

ENGINE = engine_of(
    feature(
        prerequisites=[{"feature": "gate", "variations": ["a"]}],
        variationToTargetMap=[
            {"variation": "c", "targets": [{"identifier": "bob"}], "targetSegments": ["staff"]}
        ],
        rules=[
            rule("b", in_segments("beta", "gone"), clause("plan", "equal", "pro"), priority=2),
            {"priority": 1, "clauses": [clause("country", "shrug", "DE")], "serve": {}},
            {"priority": 3, "clauses": [], "serve": rollout("plan", a=10, b=90)},
        ],
    ),
    feature("gate"),
    feature("blocked", prerequisites=[{"feature": "gate", "variations": ["b"]}]),
    feature("broken", defaultServe={}),
    feature("lenient", prerequisites=[{"feature": "broken", "variations": []}]),
    segments=(
        {"identifier": "staff", "excluded": [{"identifier": "alice"}]},
        {"identifier": "beta", "rules": [clause("plan", "equal", "free")]},
    ),
)


def test_every_step_in_order() -> None:
    """Prerequisites, state, map, each rule with its clauses and segments, the bucket, the outcome."""
    assert render(ENGINE.explain("f", ALICE)).splitlines() == [
        "+ prerequisite 'gate' of 'f': has 'a', wanted ['a']",
        "  + flag 'gate' is on",
        "    default variation: a",
        "+ flag 'f' is on",
        "- target is named for variation 'c'",
        "- target is in ['staff'] for variation 'c'",
        "  - segment 'staff' excludes the target, which ends the list",
        "- rule 1 (priority 1) matches",
        "  - country 'DE' shrug ['DE'] (can never hold)",
        "- rule 2 (priority 2) matches",
        "  - target is in ['beta', 'gone']",
        "    - segment 'beta' matches the target by its rules",
        "    - segment 'gone' does not exist, the next one is asked",
        "  + plan 'pro' equal ['pro']",
        "+ rule 3 (priority 3) matches",
        "    distribution by 'plan' (a 10%, b 90%): bucket 51 of 100: b",
        "=> f: b = 'value b' (rule)",
    ]


def test_a_failed_prerequisite() -> None:
    """The flag's own targeting is not consulted, and not shown."""
    assert render(ENGINE.explain("blocked", ALICE)).splitlines() == [
        "- prerequisite 'gate' of 'blocked': has 'a', wanted ['b']",
        "  + flag 'gate' is on",
        "    default variation: a",
        "=> blocked: c = 'value c' (prerequisite)",
    ]


def test_a_prerequisite_that_cannot_be_evaluated() -> None:
    """It satisfies the whole check, and the explanation says so."""
    text = render(ENGINE.explain("lenient", ALICE))
    assert "prerequisite 'broken' of 'lenient': no variation" in text
    assert "'lenient' counts as satisfied" in text


def test_no_variation() -> None:
    """The last line says why there is none."""
    lines = render(ENGINE.explain("broken", None)).splitlines()
    assert lines[-1] == "=> broken: no variation (no_variation): no step names a variation"
    assert render(ENGINE.explain("absent", ALICE)) == (
        "=> absent: no variation (unknown_flag): the environment has no such flag"
    )


def test_nobody_has_no_bucket() -> None:
    """Without a target, map and rules are skipped and a distribution gives its last share."""
    text = render(engine_of(feature(defaultServe=rollout("plan", a=60, b=40))).explain("f", None))
    assert "no target: variation map and rules are skipped" in text
    assert "no bucket, the last share: b" in text


def test_members_are_explained() -> None:
    """A segment that includes the target is told from one whose rules match it."""
    segments = (
        {"identifier": "named", "included": [{"identifier": "alice"}]},
        {"identifier": "ruled", "rules": [clause("plan", "equal", "pro")]},
    )
    engine = engine_of(
        feature(rules=[rule("b", in_segments("named")), rule("c", in_segments("ruled"))]), segments=segments
    )
    assert "+ segment 'named' includes the target" in render(engine.explain("f", ALICE))
    other = Target("carol", "", {"plan": "pro"})
    assert "+ segment 'ruled' matches the target by its rules" in render(engine.explain("f", other))
