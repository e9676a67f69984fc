"""Facts about a target are worked out once (spec/evaluation#attributes, spec/evaluation#distribution)."""

from collections.abc import Iterator, Mapping

import pytest

from ff_proxy.evaluation.bucketing import NO_BUCKET, bucket_of
from ff_proxy.evaluation.target_view import Bucket, FoldedText, TargetView, Text, interned
from ff_proxy.model.target import Target


def _view_of(target: Target | None) -> TargetView:
    return TargetView(target, {}, {})


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("identifier", "alice"),
        ("name", "Alice"),
        ("Identifier", "custom"),
        ("anonymous", ""),
        ("a.b", ""),
        ("plan", "pro"),
        ("Plan", ""),
        ("age", "30"),
        ("nothing", "<nil>"),
        ("", ""),
    ],
)
def test_lookup(attribute: str, text: str) -> None:
    """Own fields by their exact names, then custom attributes by exact key."""
    target = Target(
        "alice",
        "Alice",
        {
            "identifier": "fake",
            "name": "Fake",
            "Identifier": "custom",
            "plan": "pro",
            "age": 30,
            "nothing": None,
            "": "unnamed",
        },
        anonymous=True,
    )
    assert _view_of(target)[Text(attribute)] == text


def test_an_empty_own_field_is_empty() -> None:
    """It does not fall through to a custom attribute of the same name."""
    assert _view_of(Target("alice", "", {"name": "custom"}))[Text("name")] == ""


def test_no_target_has_no_attributes() -> None:
    """Whatever is asked about nobody reads as absent, and there is no bucket."""
    view = _view_of(None)
    assert view[Text("identifier")] == ""
    assert view[Bucket("plan")] == NO_BUCKET


def test_answers_are_kept() -> None:
    """An attribute is read once, however many equal facts ask."""

    class Counting(Mapping[str, object]):
        reads = 0

        def __getitem__(self, name: str) -> object:
            self.reads += 1
            return name

        def __iter__(self) -> Iterator[str]:
            return iter(("plan",))

        def __len__(self) -> int:
            return 1

    attributes = Counting()
    view = _view_of(Target("alice", "", attributes))
    answers = [view[Text("plan")], view[Text("plan")], view[FoldedText(Text("plan"))], view[Bucket("plan")]]
    assert answers == ["plan", "plan", "plan", bucket_of("plan", "plan")]
    assert attributes.reads == 1


def test_bucket_falls_back_to_the_identifier() -> None:
    """Without the attribute, value and prefix are the identifier's; a null attribute has a value."""
    view = _view_of(Target("alice", "", {"empty": "", "null": None}))
    assert view[Bucket("empty")] == view[Bucket("absent")] == bucket_of("identifier", "alice")
    assert view[Bucket("null")] == bucket_of("null", "<nil>")


def test_equal_facts_are_shared() -> None:
    """Equal facts of the same type become one object; other types stay apart."""
    assert interned(Text("shared here")) is interned(Text("shared here"))
    assert interned(Bucket("shared here")) != interned(Text("shared here"))
