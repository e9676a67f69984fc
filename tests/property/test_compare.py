"""Whatever two proxies answer: what is equal to SDKs is no difference, and what is not is one."""

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from ff_proxy.commands.compare.answers import Answer, compare
from ff_proxy.commands.compare.known import Kind

_NAMES = st.text("abc", min_size=1, max_size=3)
_LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text("xyz\u00e9", max_size=4)
_FIELDS = st.dictionaries(_NAMES, _LEAVES, max_size=4)
_ENTRIES = st.dictionaries(_NAMES, _FIELDS, min_size=1, max_size=4).map(
    lambda held: [{**fields, "feature": name} for name, fields in held.items()]
)


def answer(document: object) -> Answer:
    """A good answer that holds a document."""
    return Answer(200, {"content-type": "application/json"}, json.loads(json.dumps(document)))


def found(old: object, new: object, kind: Kind = Kind.REFUSAL) -> list[str]:
    """Where they differ."""
    return [one.place for one in compare("q", kind, answer(old), answer(new))]


def _is_empty(value: object) -> bool:
    return value is None or value is False or value == ""


@given(_ENTRIES, st.randoms(use_true_random=False))
def test_order_and_empty_values_are_no_difference(entries: list[dict[str, Any]], chance: Any) -> None:
    """A list in another order, and fields that are not there instead of empty."""
    other = [
        {name: value for name, value in entry.items() if not (_is_empty(value) and chance.random() < 0.5)}
        for entry in entries
    ]
    chance.shuffle(other)
    assert found(entries, other) == []
    assert found(other, entries) == []


@given(_ENTRIES, _NAMES, _LEAVES, st.data())
def test_one_change_is_one_difference(
    entries: list[dict[str, Any]], field: str, value: object, data: st.DataObject
) -> None:
    """With its place, in both directions; 1, true and "1" are three things."""
    index = data.draw(st.integers(0, len(entries) - 1))
    before = entries[index].get(field)
    assume(not (_is_empty(before) and _is_empty(value)))
    assume((type(before), before) != (type(value), value))
    changed = [dict(entry) for entry in entries]
    changed[index][field] = value
    expected = [f"[{entries[index]['feature']}].{field}"]
    assert found(entries, changed) == expected
    assert found(changed, entries) == expected


@given(_ENTRIES, st.data())
def test_an_entry_too_few_is_a_difference(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """On either side, and under its name."""
    gone = data.draw(st.sampled_from(entries))
    others = [entry for entry in entries if entry is not gone]
    places = found(entries, others)
    assert places == found(others, entries)
    assert places == [f"[{gone['feature']}]"]


@given(st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner)))
def test_a_json_value_may_be_encoded_once_more(value: object) -> None:
    """And is known to differ then; another value is not."""
    plain = json.dumps(value)

    def evaluations(text: str) -> list[dict[str, str]]:
        return [{"flag": "f", "kind": "json", "identifier": "a", "value": text}]

    differences = compare(
        "q", Kind.EVALUATIONS, answer(evaluations(json.dumps(plain))), answer(evaluations(plain))
    )
    assert all(one.known for one in differences)
    other = json.dumps([value])
    differences = compare(
        "q", Kind.EVALUATIONS, answer(evaluations(json.dumps(plain))), answer(evaluations(other))
    )
    assert [one.known for one in differences] == [""]
