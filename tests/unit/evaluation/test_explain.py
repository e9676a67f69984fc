"""``ff-proxy explain``: every step that led to a variation."""

import pytest

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
    """Prerequisites, state, map, each rule with its clauses and groups, the bucket, the outcome."""
    assert render(ENGINE.explain("f", ALICE)).splitlines() == [
        "+ prerequisite 'gate' of 'f': it has 'a', as required",
        "  + flag 'gate' is on",
        "    no rule decided: the default variation is served, a",
        "+ flag 'f' is on",
        "- the target is not named for variation c",
        "- the target is not in target group 'staff', for variation c",
        "  - target group 'staff' excludes the target, which ends the list",
        "- rule 1 (priority 1) does not match",
        "  - country is 'DE': the operator 'shrug' is not known, so this never holds",
        "- rule 2 (priority 2) does not match",
        "  - the target is in none of the target groups 'beta', 'gone'",
        "    - target group 'beta' does not match the target by its rules",
        "      - plan is 'pro': does not equal 'free'",
        "    - target group 'gone' does not exist, so the next one is tried",
        "  + plan is 'pro': equals 'pro'",
        "+ rule 3 (priority 3) matches everybody: it has no clause",
        "    percentage rollout by 'plan' (a 10%, b 90%): bucket 51 of 100: b",
        "=> f: b = 'value b' (rule_distribution)",
    ]


def test_a_failed_prerequisite() -> None:
    """The flag's own targeting is not consulted, and not shown."""
    assert render(ENGINE.explain("blocked", ALICE)).splitlines() == [
        "- prerequisite 'gate' of 'blocked': it has 'a', required is 'b'",
        "  + flag 'gate' is on",
        "    no rule decided: the default variation is served, a",
        "  a prerequisite is not met: the off variation is served, c",
        "=> blocked: c = 'value c' (prerequisite)",
    ]


def test_a_prerequisite_that_cannot_be_evaluated() -> None:
    """It satisfies the whole check, and the explanation says so."""
    text = render(ENGINE.explain("lenient", ALICE))
    assert "prerequisite 'broken' of 'lenient': it has no variation" in text
    assert "'lenient' counts as satisfied" in text


def test_no_variation() -> None:
    """The last line says why there is none."""
    lines = render(ENGINE.explain("broken", None)).splitlines()
    assert lines[-1] == "=> broken: no variation (no_variation): no step names a variation"
    assert render(ENGINE.explain("absent", ALICE)) == (
        "=> absent: no variation (unknown_flag): the environment has no such flag"
    )


def test_a_flag_that_is_off() -> None:
    """What is served is part of the step."""
    text = render(engine_of(feature(state="off")).explain("f", ALICE))
    assert text.splitlines() == [
        "- flag 'f' is off: the off variation is served, c",
        "=> f: c = 'value c' (off)",
    ]


def test_nobody_has_no_bucket() -> None:
    """Without a target, map and rules are skipped and a distribution gives its last share."""
    text = render(engine_of(feature(defaultServe=rollout("plan", a=60, b=40))).explain("f", None))
    assert "there is no target: target map and rules are skipped" in text
    assert "no bucket, so the last share: b" in text


def test_members_are_explained() -> None:
    """A group that includes the target is told from one whose rules match it."""
    segments = (
        {"identifier": "named", "included": [{"identifier": "alice"}]},
        {"identifier": "ruled", "rules": [clause("plan", "equal", "pro")]},
    )
    engine = engine_of(
        feature(rules=[rule("b", in_segments("named")), rule("c", in_segments("ruled"))]), segments=segments
    )
    assert "+ target group 'named' includes the target" in render(engine.explain("f", ALICE))
    other = Target("carol", "", {"plan": "pro"})
    assert "+ target group 'ruled' matches the target by its rules" in render(engine.explain("f", other))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (clause("plan", "equal", "PRO"), "+ plan is 'pro': equals 'PRO'"),
        (clause("plan", "equal_sensitive", "PRO"), "- plan is 'pro': is not exactly 'PRO'"),
        (clause("plan", "starts_with", "x"), "- plan is 'pro': does not start with 'x'"),
        (clause("plan", "ends_with", "o"), "+ plan is 'pro': ends with 'o'"),
        (clause("plan", "contains", "x"), "- plan is 'pro': does not contain 'x'"),
        (clause("plan", "in", "free", "gold"), "- plan is 'pro': is none of 'free', 'gold'"),
        (
            clause("plan", "gt", "a", "z"),
            "+ plan is 'pro': is greater, as text, than 'a' (only the first of 2",
        ),
        (clause("plan", "match", "^q"), "- plan is 'pro': does not match the pattern '^q'"),
        (clause("plan", "match", "("), "- plan is 'pro': does not match the pattern '(' (this never holds)"),
        (clause("age", "equal", "1"), "- age is empty or missing: does not equal '1'"),
        (clause("plan", "equal"), "- plan is 'pro': there is no value to compare it with"),
    ],
)
def test_operators_read_as_words(asked: dict[str, object], said: str) -> None:
    """With the value that the clause saw, and as it came out."""
    assert said in render(engine_of(feature(rules=[rule("b", asked)])).explain("f", ALICE))


@pytest.mark.parametrize("and_rules", [True, False])
def test_the_rules_of_a_group_are_those_that_the_engine_uses(and_rules: bool) -> None:
    """Serving rules with ``and-rules``, the older rules without."""
    segment = {
        "identifier": "g",
        "rules": [clause("plan", "equal", "pro")],
        "servingRules": [{"priority": 1, "clauses": [clause("country", "equal", "FR")]}],
    }
    engine = engine_of(feature(rules=[rule("b", in_segments("g"))]), segments=(segment,), and_rules=and_rules)
    text = render(engine.explain("f", ALICE))
    assert ("rule 1 of the group does not match" in text) == and_rules
    assert ("plan is 'pro': equals 'pro'" in text) != and_rules


def test_long_chains_and_circles_of_groups_end() -> None:
    """Neither the depth of nesting nor a group that is named again and again makes it long."""
    names = [f"g{number}" for number in range(3000)]
    chain = tuple(
        {"identifier": name, "rules": [in_segments(following, following)]}
        for name, following in zip(names, [*names[1:], names[0]], strict=True)
    )
    engine = engine_of(
        feature(rules=[rule("b", in_segments("g0")), rule("b", in_segments("g0"))]), segments=chain
    )
    lines = render(engine.explain("f", ALICE)).splitlines()
    assert len(lines) < 60
    assert any("(not shown: it is nested too deeply)" in line for line in lines)
    assert any("(shown above)" in line for line in lines)


def test_what_a_terminal_would_act_on_is_escaped() -> None:
    """Names come from outside."""
    engine = engine_of(feature("f\x1b[2J", variations=[{"identifier": "a\n", "value": "\x07"}]))
    text = render(engine.explain("f\x1b[2J", Target("me\x1b[0m")))
    assert all(character.isprintable() for line in text.split("\n") for character in line)
