"""What requests are answered from."""

import zlib

import msgspec

from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.model.target import Target
from ff_proxy.snapshots.snapshot import CompileOptions, Snapshot
from ff_proxy.store.merge import merge
from tests.support.configs import config, flag, segment

SERVING = [
    {"ruleId": "r", "priority": 1, "clauses": [{"attribute": "plan", "op": "equal", "values": ["gold"]}]}
]


def snapshot(
    *items: object, previous: Snapshot | None = None, options: CompileOptions | None = None
) -> Snapshot:
    """A snapshot of an environment that holds ``items``."""
    made = merge(None, config(*items))  # type: ignore[arg-type]  # items are Items
    return Snapshot(made, options or CompileOptions(), previous=previous)


def test_bulk_bodies_are_arrays_in_identifier_order() -> None:
    """The order is the same on every member."""
    made = snapshot(flag("b"), flag("a"), segment("z"), segment("y"))
    assert [item["feature"] for item in msgspec.json.decode(made.flags.content)] == ["a", "b"]
    assert [item["identifier"] for item in msgspec.json.decode(made.legacy_segments.content)] == ["y", "z"]
    assert made.flags.etag == snapshot(flag("a"), flag("b")).flags.etag


def test_an_empty_environment_is_an_empty_array() -> None:
    """Never null: SDKs break on it."""
    made = snapshot()
    assert made.flags.content == b"[]"
    assert made.segments(rules_v2=True).content == b"[]"
    assert made.flag("none") is None
    assert made.segment("none", rules_v2=False) is None


def test_segments_have_a_form_for_each_caller() -> None:
    """rules=v2 gets serving rules and no rules; anyone else rules only."""
    made = snapshot(segment(servingRules=SERVING))
    v2 = msgspec.json.decode(made.segments(rules_v2=True).content)[0]
    legacy = msgspec.json.decode(made.segments(rules_v2=False).content)[0]
    assert "rules" not in v2
    assert v2["servingRules"][0]["ruleId"] == "r"
    assert "servingRules" not in legacy
    assert legacy["rules"][0]["attribute"] == "plan"


def test_without_serving_rules_both_callers_get_rules() -> None:
    """The list is there even if it is empty."""
    made = snapshot(segment())
    for rules_v2 in (True, False):
        body = made.segment("beta", rules_v2=rules_v2)
        assert body is not None
        assert msgspec.json.decode(body.content)["rules"] == []


def test_and_rules_off_hides_serving_rules() -> None:
    """With and-rules=false a v2 caller is served as anyone else (spec/behaviour#segment-forms)."""
    made = snapshot(segment(servingRules=SERVING), options=CompileOptions(and_rules=False))
    assert made.segments(rules_v2=True).content == made.segments(rules_v2=False).content


def test_unchanged_items_are_reused() -> None:
    """Their bodies are the same objects."""
    before = snapshot(flag("a"), flag("b"))
    after = snapshot(flag("a"), flag("b", on=False, version=2), previous=before)
    assert after.flag("a") is before.flag("a")
    assert after.flag("b") is not before.flag("b")


def test_changes_of_segments_come_first() -> None:
    """Create, patch and delete, each with the version that a request will find."""
    before = snapshot(flag("a"), flag("gone", version=4), segment("s"))
    after = snapshot(flag("a", on=False, version=2), flag("new"), segment("s", version=3), previous=before)
    assert after.changes_since(before) == (
        Change(Action.PATCH, Domain.SEGMENT, "s", 3),
        Change(Action.PATCH, Domain.FLAG, "a", 2),
        Change(Action.CREATE, Domain.FLAG, "new", 1),
        Change(Action.DELETE, Domain.FLAG, "gone", 4),
    )


def test_the_engine_serves_the_current_flags() -> None:
    """An engine derived from the previous one evaluates the changed flags."""
    before = snapshot(flag("a"))
    assert before.engine.evaluate("a", Target("ana")).value == "true"  # type: ignore[union-attr]  # it has one
    after = snapshot(flag("a", on=False, version=2), previous=before)
    assert after.engine.evaluate("a", Target("ana")).value == "false"  # type: ignore[union-attr]  # it has one


def test_compressed_bodies_unpack_to_the_plain_ones() -> None:
    """And small ones are not compressed."""
    made = snapshot(*(flag(f"flag-{number}") for number in range(50)))
    assert made.flags.gzip is not None
    assert zlib.decompress(made.flags.gzip, 31) == made.flags.content
    assert snapshot().flags.gzip is None


def test_order_and_reuse_with_any_change() -> None:
    """One item changed, added or removed: ordered by identifier, and nothing is compiled twice."""
    first = snapshot(flag("b"), flag("a"), segment("s"))
    changed = snapshot(flag("a", on=False, version=2), flag("b"), segment("s"), previous=first)
    assert list(changed.items(Domain.FLAG)) == ["a", "b"]
    assert changed.flag("b") is first.flag("b")
    assert changed.flag("a") is not first.flag("a")
    assert changed.version(Domain.FLAG, "a") == 2
    more = snapshot(flag("aa"), flag("a", on=False, version=2), flag("b"), previous=changed)
    assert list(more.items(Domain.FLAG)) == ["a", "aa", "b"]
    assert more.flag("a") is changed.flag("a")
    assert list(more.items(Domain.SEGMENT)) == []
    fewer = snapshot(flag("b"), previous=more)
    assert list(fewer.items(Domain.FLAG)) == ["b"]
    assert fewer.flag("b") is first.flag("b")
