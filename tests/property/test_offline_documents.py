"""What people write: read as it is meant, or reported; never dropped without a word."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.files import Files
from ff_proxy.offline.format import Reading, read_environment
from ff_proxy.offline.layout import Location
from ff_proxy.wire.config import read_feature, read_segment
from tests.support.offline import flag_doc

Step = str | int
Route = tuple[Step, ...]

FLAG: Final = flag_doc(
    "glaze",
    kind="string",
    variations=[
        {"identifier": "true", "name": "Yes", "value": "true"},
        {"identifier": "7", "name": "Seven", "value": "7"},
    ],
    offVariation="7",
    defaultServe={"variation": "true"},
    prerequisites=[{"feature": "yeast", "variations": ["true"]}],
    variationToTargetMap=[
        {"variation": "true", "targets": [{"identifier": "ada"}], "targetSegments": ["night"]}
    ],
    rules=[
        {
            "ruleId": "one",
            "priority": 3,
            "clauses": [{"attribute": "age", "op": "in", "values": ["8", "9"], "negate": False}],
            "serve": {
                "distribution": {
                    "bucketBy": "identifier",
                    "variations": [{"variation": "true", "weight": 60}, {"variation": "7", "weight": 40}],
                }
            },
        }
    ],
)
SEGMENT: Final = {
    "identifier": "night",
    "name": "Night",
    "included": [{"identifier": "ada"}, {"identifier": "12"}],
    "excluded": [{"identifier": "bob"}],
    "rules": [{"attribute": "shift", "op": "equal", "values": ["night"]}],
    "servingRules": [
        {
            "ruleId": "one",
            "priority": 1,
            "clauses": [{"attribute": "shift", "op": "starts_with", "values": ["n"]}],
        }
    ],
    "version": 4,
}
TARGET: Final = {"identifier": "ada", "name": "Ada", "anonymous": False, "attributes": {"age": 8}}
FILES: Final = {"feature_config": FLAG, "segments": SEGMENT, "targets": TARGET}
# Text of any kind is text, so that nonsense there is only what cannot be text.
NONSENSE: Final[tuple[Any, ...]] = ({"odd": 1}, [[1]], [{"odd": [1]}])
NO_NUMBER: Final[tuple[Any, ...]] = (*NONSENSE, "?!", "")


class OneDirectory(Files):
    """A directory that exists only here."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents

    def read(self, path: Path) -> bytes:
        return self._contents[path.name]


def read(contents: dict[str, bytes]) -> Reading:
    """An environment of files with these contents."""
    signature = tuple((name, 0, 0, 0) for name in sorted(contents))
    location = Location(EnvironmentId("e"), Path("/e"), signature, 1)
    return read_environment(location, OneDirectory(contents))


def served(part: str, document: object, suffix: str = ".json") -> tuple[object, int]:
    """What evaluation sees of a document, and how many problems are reported."""
    encoded = (
        msgspec.json.encode([document])
        if suffix == ".json"
        else yaml.safe_dump([document], default_flow_style=None).encode()
    )
    reading = read({part + suffix: encoded})
    if reading.environment is None:
        return None, len(reading.problems)
    config = reading.environment.config
    flags = [msgspec.structs.replace(read_feature(item.wire), version=0) for item in config.flags.values()]
    segments = [
        msgspec.structs.replace(read_segment(item.wire), version=0) for item in config.segments.values()
    ]
    return (flags, segments, reading.environment.targets), len(reading.problems)


def _doc(wire: bytes) -> Any:
    return msgspec.json.decode(wire)


def routes(document: object, above: Route = ()) -> Iterator[Route]:
    """Every place in a document."""
    if above and above[-1] != "attributes":
        yield above
    entries: Any = ()
    if isinstance(document, dict) and (not above or above[-1] != "attributes"):
        entries = document.items()
    elif isinstance(document, list):
        entries = enumerate(document)
    for step, part in entries:
        yield from routes(part, (*above, step))


def at(document: Any, route: Route) -> Any:
    """What is at a place."""
    for step in route:
        document = document[step]
    return document


def replaced(document: object, route: Route, value: object) -> Any:
    """The document with something else at a place."""
    made = copy.deepcopy(document)
    at(made, route[:-1])[route[-1]] = value
    return made


def renamed(document: object, route: Route, name: str) -> Any:
    """The document with a field called otherwise."""
    made = copy.deepcopy(document)
    holder = at(made, route[:-1])
    holder[name] = holder.pop(route[-1])
    return made


PLACES: Final = [(part, route) for part, document in FILES.items() for route in routes(document)]
FIELDS: Final = [(part, route) for part, route in PLACES if isinstance(route[-1], str)]


def respellings(value: object, route: Route) -> list[object]:
    """Other ways to write the same."""
    name = next(step for step in reversed(route) if isinstance(step, str))
    ways: list[object] = []
    if isinstance(value, str):
        ways += [bool(value == "true")] if value in {"true", "false"} else []
        ways += [int(value)] if value.isdigit() else []
        ways += [value.upper(), value.title()] if name in {"kind", "state", "op"} else []
        ways += [value == "on", f" {value} "] if name == "state" else []
    elif isinstance(value, bool):
        ways += [str(value), str(value).lower(), int(value)]
    elif isinstance(value, int):
        ways += [str(value), float(value), f" {value}"]
    elif isinstance(value, list) and len(value) == 1:
        ways.append(value[0])
    elif isinstance(value, dict) and value.keys() == {"identifier"}:
        ways.append(value["identifier"])
    elif isinstance(value, dict) and value.keys() == {"variation"}:
        ways.append(value["variation"])
    return ways


RESPELLED: Final = [
    (part, route, way) for part, route in PLACES for way in respellings(at(FILES[part], route), route)
]


@pytest.mark.parametrize("part", FILES)
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_the_documents_are_good(part: str, suffix: str) -> None:
    """As they stand, nothing is to be said of them."""
    assert served(part, FILES[part], suffix)[1] == 0


@given(st.sampled_from(RESPELLED), st.sampled_from([".json", ".yaml"]))
def test_what_has_one_meaning_is_read_as_it(respelled: tuple[str, Route, object], suffix: str) -> None:
    """Texts for objects, numbers as text and the other way round, one entry for a list of one."""
    part, route, way = respelled
    assert served(part, replaced(FILES[part], route, way), suffix) == served(part, FILES[part])


@given(st.sampled_from(FIELDS), st.sampled_from([str.upper, str.title, lambda name: f"_{name}"]))
def test_the_case_of_names_does_not_matter(field: tuple[str, Route], spell: Callable[[str], str]) -> None:
    """As in the Go proxy."""
    part, route = field
    document = renamed(FILES[part], route, spell(str(route[-1])))
    assert served(part, document) == served(part, FILES[part])


@given(st.sampled_from(PLACES), st.sampled_from(NONSENSE))
def test_nonsense_is_reported_or_means_nothing(place: tuple[str, Route], nonsense: object) -> None:
    """Wherever it stands."""
    part, route = place
    if route[-1] == "value":
        return  # any JSON is a value
    result, problems = served(part, replaced(FILES[part], route, nonsense))
    assert problems or result == served(part, FILES[part])[0]


@given(
    st.sampled_from([one for one in PLACES if isinstance(at(FILES[one[0]], one[1]), int)]),
    st.sampled_from(NO_NUMBER),
)
def test_what_is_no_number_is_reported(place: tuple[str, Route], nonsense: object) -> None:
    """Nor a boolean."""
    part, route = place
    assert served(part, replaced(FILES[part], route, nonsense))[1]


@given(st.sampled_from(FIELDS))
def test_a_name_that_is_misspelt_is_reported_or_means_nothing(field: tuple[str, Route]) -> None:
    """By a letter."""
    part, route = field
    for name in (f"{route[-1]}s", str(route[-1])[:-1]):
        result, problems = served(part, renamed(FILES[part], route, name))
        assert problems or result == served(part, FILES[part])[0], name


@given(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3), st.data())
def test_any_json_anywhere_gives_an_environment_or_a_clear_error(
    places: list[tuple[str, Route]], data: st.DataObject
) -> None:
    """Whatever is said of it, reading comes to an end with no error of Python's."""
    anything = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=5,
    )
    for part, route in places:
        document = replaced(FILES[part], route, data.draw(anything))
        try:
            encoded = msgspec.json.encode([document])
        except (UnicodeEncodeError, OverflowError, msgspec.ValidationError):
            continue
        reading = read({f"{part}.json": encoded})
        assert reading.environment is not None or reading.problems
