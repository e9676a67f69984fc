"""One rule for writes: what changes, and under which version."""

import msgspec

from ff_proxy.model.environment import Domain
from ff_proxy.store.merge import apply_edit, merge
from ff_proxy.store.protocol import DropItem, PutItem
from tests.support.configs import config, flag, segment


def test_equal_content_is_the_very_same_object() -> None:
    """Nothing is rebuilt for a write that says nothing new."""
    old = merge(None, config(flag(), segment()))
    assert merge(old, config(flag(), segment())) is old
    assert apply_edit(old, PutItem(flag())) is old
    assert apply_edit(old, DropItem(Domain.SEGMENT, "none")) is old


def test_equal_content_under_an_older_version_changes_nothing() -> None:
    """A source that restarted its counting does not make SDKs fetch again."""
    old = merge(None, config(flag(version=9)))
    assert merge(old, config(flag(version=2))) is old


def test_equal_content_under_a_newer_version_takes_it() -> None:
    """SaaS's own counting is followed upwards."""
    old = merge(None, config(flag(version=2)))
    assert merge(old, config(flag(version=9))).flags["checkout"].version == 9


def test_an_untouched_item_stays_the_same_object() -> None:
    """Only what changed is new, so that snapshots can keep the rest."""
    old = merge(None, config(flag("a"), flag("b")))
    new = merge(old, config(flag("a"), flag("b", on=False)))
    assert new.flags["a"] is old.flags["a"]
    assert new.flags["b"].version == 2
    assert msgspec.json.decode(new.flags["b"].wire)["version"] == 2


def test_one_gone_and_one_new_is_a_change() -> None:
    """The count alone does not tell."""
    held = config(flag("a"))
    merged = merge(held, config(flag("b")))
    assert set(merged.flags) == {"b"}
    assert merged.retired == {"flag:a": 1}


def test_key_changes_are_changes() -> None:
    """A new key alone makes a new environment record."""
    old = merge(None, config(flag(), keys=("one",)))
    new = merge(old, config(flag(), keys=("one", "two")))
    assert new is not old
    assert new.flags is old.flags
    assert len(new.keys) == 2


def test_a_flag_and_a_segment_of_one_name_retire_apart() -> None:
    """The memory of versions is kept by domain."""
    old = merge(None, config(flag("same", version=5), segment("same", version=2)))
    gone = merge(old, config())
    back = merge(gone, config(flag("same", version=1), segment("same", version=1)))
    assert back.flags["same"].version == 6
    assert back.segments["same"].version == 3
