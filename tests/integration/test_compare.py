"""``ff-proxy compare`` finds what differs between two proxies, and nothing that is known to differ."""

import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.commands.compare import command, known
from ff_proxy.commands.compare.command import CompareOptions, Report, compare_proxies
from ff_proxy.commands.proxy_client import open_transport
from ff_proxy.config.declare import build, options_of
from ff_proxy.config.settings import read_settings
from ff_proxy.errors import ConfigError, ExitCode, UpstreamError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.wire.normalise import normalise_flag, normalise_segment
from tests.support.commands import run
from tests.support.configs import ENVIRONMENT, KEY, accepted, config
from tests.support.engines import clause, in_segments, rollout, rule
from tests.support.go_proxy import GoProxy
from tests.support.offline import write_files
from tests.support.ports import free_port
from tests.support.web import Site, serving

Plant = Callable[[str, int, Any, dict[str, str]], tuple[int, Any]]

OTHER = EnvironmentId("8f0f3f3e-0000-4000-8000-000000000002")
ANA = Target("ana", "Ana", {"plan": "gold"})
BASE = {"project": "shop", "environment": "production", "version": 3}
VARIATIONS = [{"identifier": "true", "value": "true"}, {"identifier": "false", "value": "false"}]
FLAGS = [
    {
        **BASE,
        "feature": "checkout",
        "kind": "boolean",
        "state": "on",
        "variations": VARIATIONS,
        "defaultServe": {"variation": "true"},
        "offVariation": "false",
        "rules": [{**rule("false", clause("plan", "equal", "gold")), "ruleId": "r1"}],
        "futureField": {"kept": True},
    },
    {
        **BASE,
        "feature": "theme",
        "kind": "json",
        "state": "on",
        "variations": [
            {"identifier": "dark", "value": '{"a": "b\\"c", "n": 1}'},
            {"identifier": "light", "value": "{}"},
        ],
        "defaultServe": rollout("identifier", dark=50, light=50),
        "offVariation": "light",
        "variationToTargetMap": [{"variation": "dark", "targets": [{"identifier": "ana"}]}],
    },
    {
        **BASE,
        "feature": "broken",
        "kind": "string",
        "state": "on",
        "variations": [{"identifier": "a", "value": "1"}, {"identifier": "b", "value": "2"}],
        "defaultServe": {"variation": "gone"},
        "offVariation": "a",
    },
    {
        **BASE,
        "feature": "by_group",
        "kind": "string",
        "state": "on",
        "variations": [{"identifier": "a", "value": "1"}, {"identifier": "b", "value": "2"}],
        "defaultServe": {"variation": "a"},
        "offVariation": "a",
        "rules": [rule("b", in_segments("beta"))],
    },
]
GROUPS = [
    {
        "identifier": "beta",
        "name": "Beta",
        "environment": "production",
        "included": [{"identifier": "bo", "name": "Bo"}, {"identifier": "cy", "name": "Cy"}],
        "excluded": [],
        "rules": [clause("plan", "equal", "free")],
        "version": 2,
        "tags": [{"name": "team", "value": "web"}],
    },
    {
        "identifier": "both",
        "name": "Both",
        "environment": "production",
        "rules": [clause("plan", "equal", "x")],
        "servingRules": [{"priority": 1, "clauses": [clause("plan", "equal", "x")]}],
        "version": 4,
    },
]


@asynccontextmanager
async def new() -> AsyncIterator[str]:
    """This proxy with the environment, and another one."""
    items = [accepted(normalise_flag(doc)) for doc in FLAGS]
    groups = [accepted(normalise_segment(doc)) for doc in GROUPS]
    site = Site()
    async with serving(site, config(*items, *groups)):
        await site.store.targets.put(ENVIRONMENT, ANA)
        yield f"http://127.0.0.1:{site.port}"


@asynccontextmanager
async def old(plant: Plant | None = None) -> AsyncIterator[str]:
    """A Go proxy with the same."""
    async with GoProxy(ENVIRONMENT, KEY, FLAGS, GROUPS, {"ana": ANA}, plant).serving() as url:
        yield url


async def compared(was: str, now: str, *more: str) -> Report:
    """What the command finds."""
    argv = [f"-api-keys={KEY}", "-targets=ana,bo", "-flags=checkout,theme,broken", "-stream-seconds=1", *more]
    options = build(CompareOptions, read_settings(argv, {}, declared=options_of(CompareOptions)))
    told: list[tuple[int, int]] = []
    async with open_transport() as transport:
        report = await compare_proxies(was, now, options, transport, lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1]
    return report


async def test_a_proxy_equals_itself() -> None:
    """Nothing differs, known or not."""
    async with new() as url:
        report = await compared(url, url)
    assert report.differences == ()
    assert report.compared > 25


async def test_what_is_known_to_differ_is_no_difference() -> None:
    """Each kind under the title that docs/compatibility.md gives it."""
    async with old() as was, new() as now:
        report = await compared(was, now)
    assert report.unknown == []
    assert {one.known for one in report.differences} == {
        known.Title.CLAIMS,
        known.Title.UNKNOWN_KEY,
        known.Title.MALFORMED,
        known.Title.JSON_VALUE,
        known.Title.NO_VARIATION,
        known.Title.STREAM_REFUSAL,
        known.Title.HEARTBEAT,
        known.Title.AND_RULES,
        known.Title.FIELDS,
    }


def _on(path: str, change: Callable[[Any], Any]) -> Plant:
    """Change documents of answers to ``path`` and what is below it."""

    def plant(address: str, status: int, document: Any, _: dict[str, str]) -> tuple[int, Any]:
        if path not in address or status != 200:
            return status, document
        return status, json.loads(json.dumps(document), object_hook=change)

    return plant


def _set(where: str, field: str, wanted: object, to: object, **also: object) -> Plant:
    """Replace a value of objects that have it, and all of ``also``."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        if found.get(field) == wanted and all(found.get(key) == value for key, value in also.items()):
            return {**found, field: to}
        return found

    return _on(where, change)


def _status(where: str, status: int) -> Plant:
    """Answer with another status."""

    def plant(address: str, was: int, document: Any, _: dict[str, str]) -> tuple[int, Any]:
        return (status, {"error": "planted"}) if address.endswith(where) else (was, document)

    return plant


def _header(where: str, name: str, value: str) -> Plant:
    """Answer with another header field."""

    def plant(address: str, status: int, document: Any, headers: dict[str, str]) -> tuple[int, Any]:
        if where in address and status == 200:
            headers[name] = value
        return status, document

    return plant


PLANTS: dict[str, tuple[Plant, set[str]]] = {
    "a flag is off": (
        _set("/feature-configs", "state", "on", "off", feature="checkout"),
        {"feature-configs: [checkout].state", "feature-configs/checkout: state"},
    ),
    "a value of a variation": (
        _set("/feature-configs", "value", "1", "one", identifier="a"),
        {
            "feature-configs: [broken].variations[a].value",
            "feature-configs: [by_group].variations[a].value",
            "feature-configs/broken: variations[a].value",
        },
    ),
    "a rule's operator": (
        _set("/feature-configs/checkout", "op", "equal", "contains"),
        {"feature-configs/checkout: rules[r1].clauses[0].op"},
    ),
    "a version": (
        _set("/feature-configs/theme", "version", 3, 2),
        {"feature-configs/theme: version"},
    ),
    "a member of a group": (
        _set("/target-segments", "identifier", "cy", "cyd", name="Cy"),
        {
            f"target-segments{one}{rules}: {place}included[{name}]"
            for rules in ("", "?rules=v2")
            for one, place in (("", "[beta]."), ("/beta", ""))
            for name in ("cy", "cyd")
        },
    ),
    "an evaluation": (
        _set("/target/ana/evaluations", "identifier", "dark", "light", flag="theme"),
        {"evaluations for ana: [theme].identifier", "evaluations for ana of theme: identifier"},
    ),
    "a JSON value": (
        _set("/target/bo/evaluations/theme", "kind", "json", "string"),
        {"evaluations for bo of theme: kind"},
    ),
    "an error in place of a flag": (
        _status("/feature-configs/checkout", 500),
        {"feature-configs/checkout: status"},
    ),
    "no CORS": (
        _header("/feature-configs/theme", "Access-Control-Allow-Origin", "https://one.example"),
        {"feature-configs/theme: header access-control-allow-origin"},
    ),
    "a stream that is none": (
        _header("/stream", "Content-Type", "text/html"),
        {"stream: header content-type"},
    ),
    "a flag too few": (
        lambda address, status, document, _: (
            (status, [one for one in document if one["feature"] != "broken"])
            if address.endswith("/feature-configs") and status == 200
            else (status, document)
        ),
        {"feature-configs: [broken]"},
    ),
    "an unknown flag is found": (
        _status("/feature-configs/ff-proxy-compare-unknown", 200),
        {"an unknown flag: status"},
    ),
}


def places(report: Report) -> set[str]:
    """What differs, without the environment's name."""
    return {f"{one.question.partition(': ')[2]}: {one.place}" for one in report.unknown}


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_difference_is_found_and_nothing_else(name: str) -> None:
    """With the place where it is."""
    plant, expected = PLANTS[name]
    async with old(plant) as was, new() as now:
        assert places(await compared(was, now)) == expected


async def test_all_of_them_at_once() -> None:
    """Ten and more, and none of what is known."""

    def plant(address: str, status: int, document: Any, headers: dict[str, str]) -> tuple[int, Any]:
        for one, _ in PLANTS.values():
            status, document = one(address, status, document, headers)
        return status, document

    async with old(plant) as was, new() as now:
        found = places(await compared(was, now))
    # One fault hides others in the same answer.
    hiding = {"feature-configs/checkout: ": "status", "feature-configs: [broken]": ""}
    expected = set().union(*(places for _, places in PLANTS.values()))
    for place, shown in hiding.items():
        expected = {one for one in expected if not one.startswith(place)} | {f"{place}{shown}"}
    assert found == expected


async def test_a_change_on_its_way_is_no_difference() -> None:
    """What differs is asked again."""
    asked: list[str] = []

    def late(address: str, status: int, document: Any, _: dict[str, str]) -> tuple[int, Any]:
        asked.append(address)
        if address.endswith("/feature-configs/theme") and asked.count(address) == 1:
            return status, {**document, "version": 1}
        return status, document

    async with old(late) as was, new() as now:
        assert (await compared(was, now)).unknown == []


async def test_as_people_and_programs_run_it(tmp_path: Path) -> None:
    """A line for each difference and one for each kind that is known; exit 1, and 0 without any."""
    write_files(
        tmp_path / f"env-{ENVIRONMENT}", targets=[{"identifier": "ana", "attributes": {"plan": "gold"}}]
    )
    usual = ("-stream-seconds=1", f"-config-dir={tmp_path}")
    async with old(PLANTS["a version"][0]) as was, new() as now:
        code, said = await run("compare", was, now, *usual, API_KEYS=KEY)
        assert code == ExitCode.CRASH
        lines = said.splitlines()
        assert lines[0] == "production: feature-configs/theme: version: old 2, new 3"
        assert any(line.startswith("known, ") and line.endswith(known.Title.JSON_VALUE) for line in lines)
        assert lines[-1].endswith(" answers compared, 1 differences")
        code, said = await run("compare", now, now, *usual, "-json", API_KEYS=KEY)
        assert code == ExitCode.OK
        assert json.loads(said)["same"] is True
        code, said = await run("compare", now, f"http://127.0.0.1:{free_port()}", API_KEYS=KEY)
        assert code == ExitCode.CRASH
        assert "Connection refused" in said
        code, said = await run("compare", now)
        assert code == ExitCode.BAD_CONFIGURATION


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["http://a"],
        ["http://a", "b"],
        ["http://[", "http://b"],
        ["http://a", "http://[::1"],
        ["http://a", "http://b:x"],
    ],
)
def test_what_are_not_two_addresses_is_refused(words: list[str]) -> None:
    """In one sentence."""
    with pytest.raises(ConfigError, match="name two proxies"):
        command.run([*words, "-api-keys", KEY], {}, io.StringIO())


async def test_a_proxy_that_does_not_take_the_key_is_named() -> None:
    """There is nothing to compare then."""
    async with new() as now:
        with pytest.raises(UpstreamError, match=r"does not know key unkn\*\*\*"):
            await compared(now, now, "-api-keys=unknown-key")


def test_every_known_difference_is_on_the_page() -> None:
    """Under the title that the command shows."""
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")
    titles = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert [title for title in known.Title if title not in titles] == []
