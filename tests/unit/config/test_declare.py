"""An option is one declaration: whatever a record declares reaches it, the help and the report from there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, get_args, get_type_hints

import pytest

from ff_proxy.config import records
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import build, computed, option, options_of, required
from ff_proxy.config.reference import as_markdown, as_text
from ff_proxy.config.settings import read_settings
from ff_proxy.errors import ConfigError
from tests.support.config_ways import UNGUESSABLE, WAYS, Said, as_flags, reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy(records.OfflineOptions):
    """A role with one more option than the real one."""

    section: ClassVar[str] = "Toys"

    toy_speed: float = option(kinds.seconds(1), 2.5, "How fast the toy goes", reloadable=True)


DECLARED = (*records.ALL, *(one for one in options_of(Toy) if one.flag == "toy-speed"))


@pytest.mark.parametrize("way", WAYS)
def test_a_new_option_is_one_declaration(way: Callable[..., Said]) -> None:
    """It arrives in the record from every source, with its default where none gives it."""
    said = way({"offline": "true", "toy-speed": "7"}, DECLARED)
    settings = read_settings(said.argv, said.environ or {}, reader(said.files or {}), DECLARED)
    assert build(Toy, settings).toy_speed == 7
    assert build(Toy, read_settings(["-offline"], {}, declared=DECLARED)) == Toy()
    assert Toy().toy_speed == 2.5


def test_a_new_option_is_described_and_checked() -> None:
    """In the help, in the page, in the report, in the words of a mistake."""
    assert "TOY_SPEED; seconds; default 2.5" in as_text(DECLARED)
    assert "| `toy-speed` | `TOY_SPEED` | seconds | `2.5` | reload | How fast the toy goes. |" in as_markdown(
        DECLARED
    )
    report = {one.option.flag: one.masked for one in read_settings([], {}, declared=DECLARED)}
    assert report["toy-speed"] == "2.5"
    (problem,) = read_settings(["-toy-speed=0"], {}, declared=DECLARED).problems
    assert problem.startswith("toy-speed: must be a number of seconds, at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """What a command might declare."""

    name: str = required(kinds.TEXT, "Who")
    size: int = option(kinds.whole_number(0), 3, "How much", fallback="weight")
    weight: int = option(kinds.whole_number(0), 4, "How heavy")
    chosen: bool = computed(lambda values: values.given("size"), False)


def test_a_record_is_built_with_defaults_fallbacks_and_what_was_chosen() -> None:
    """The fallback's value counts only if it was given and the option itself was not."""
    declared = options_of(Small)

    def built(*argv: str) -> Small:
        return build(Small, read_settings(["-name=n", *argv], {}, declared=declared))

    assert built() == Small(name="n", size=3, weight=4, chosen=False)
    assert built("-weight=9") == Small(name="n", size=9, weight=9, chosen=False)
    assert built("-weight=9", "-size=3") == Small(name="n", size=3, weight=9, chosen=True)
    with pytest.raises(ConfigError, match=r"^name: required$"):
        build(Small, read_settings([], {}, declared=declared))


def test_every_declared_field_is_reached() -> None:
    """Each option lands in the record of a role, or is one that chooses among sources and roles."""
    reached = {found.flag for found in options_of(*records.ROLES.values(), records.ModeOptions)}
    others = {found.flag for found in options_of(records.SourceOptions, records.CompatibilityOptions)}
    assert reached | others == {found.flag for found in records.ALL}
    assert not reached & others


@pytest.mark.parametrize("record", records.ROLES.values(), ids=lambda one: one.__name__)
def test_no_field_of_a_record_is_left_to_its_default(record: type[Any]) -> None:
    """A field without a declaration would keep its default whatever people say."""
    undeclared = [
        f"{owner.__name__}.{entry.name}"
        for owner in records_within(record)
        for entry in fields(owner)
        if not entry.metadata
    ]
    assert undeclared == []


def records_within(record: type[Any]) -> Iterator[type[Any]]:
    """``record`` and the records of its fields."""
    yield record
    for hint in get_type_hints(record).values():
        for inner in (hint, *get_args(hint)):
            if (
                is_dataclass(inner)
                and isinstance(inner, type)
                and inner.__module__.endswith(("records", "_options"))
            ):
                yield from records_within(inner)


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("admin-address", "off"),
        ("access-log", "off"),
        ("ofrep-usage", "false"),
        ("memory-budget", "0"),
        ("base-path", "/"),
    ],
)
def test_what_is_so_anyway_needs_no_warning(flag: str, text: str) -> None:
    """To be without something that is not there yet."""
    assert as_flags({"offline": "true", "auth-secret": UNGUESSABLE, flag: text}).load().warnings == ()
