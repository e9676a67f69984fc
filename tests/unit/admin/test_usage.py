"""Usage by flag and variation, on pages and in the API."""

import json
from typing import Any

import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey
from tests.support.admin import AdminWorld
from tests.support.configs import ENVIRONMENT, config, flag
from tests.unit.admin.test_fleet import Fleet

PAGE = f"/environments/{ENVIRONMENT}"
API = f"/api{PAGE}"


def given(name: str, variation: str, count: int, environment: EnvironmentId = ENVIRONMENT) -> UsageCount:
    """Evaluations that Harness has accepted."""
    said = (("featureIdentifier", json.dumps(name)), ("variationIdentifier", json.dumps(variation)))
    return UsageCount(UsageKey(environment, "FFMETRICS", said), count, 1)


def rows(usage: Any) -> list[tuple[str, str, int, int]]:
    """What the API says."""
    return [(one["flag"], one["variation"], one["lastHour"], one["sinceStart"]) for one in usage["rows"]]


async def test_the_flag_that_is_used_most_comes_first() -> None:
    """On the environment's page; the flag's page has its own variations with their shares."""
    world = AdminWorld()
    await world.hold(config(flag("a"), flag("b")))
    assert world.sent is not None
    world.sent.add([given("b", "true", 1_200), given("gone", "<x>", 1)])
    await world.clock.advance(7200)
    world.sent.add([given("a", "true", 3), given("a", "false", 9), given("b", "true", 4)])
    world.sent.add([given("a", "true", 99, EnvironmentId("another"))])
    async with world.client() as http:
        usage = (await http.get(API)).json()["usage"]
        of_flag = (await http.get(f"{API}/flags/a")).json()["usage"]
        page, flag_page = (await http.get(PAGE)).text, (await http.get(f"{PAGE}/flags/a")).text
    assert rows(usage) == [
        ("a", "false", 9, 9),
        ("a", "true", 3, 3),
        ("b", "true", 4, 1_204),
        ("gone", "<x>", 0, 1),
    ]
    assert (usage["since"], usage["complete"], usage["note"]) == (world.clock.wall() - 7200, True, "")
    assert rows(of_flag) == rows(usage)[:2]
    assert "1,204" in page
    assert "&lt;x&gt;" in page
    assert f'href="{PAGE}/flags/b"' in page
    assert f'href="{PAGE}/flags/gone"' not in page
    assert "75 %" in flag_page


async def test_nothing_was_sent_yet() -> None:
    """A sentence, and no table."""
    world = AdminWorld()
    await world.hold(config(flag("a")))
    async with world.client() as http:
        assert "No usage of this environment has been sent to Harness" in (await http.get(PAGE)).text
        shown = await http.get(f"{PAGE}/flags/a")
        assert "No evaluation of this flag has been sent to Harness" in shown.text


async def test_who_sends_nothing_says_why_and_shows_no_zeros() -> None:
    """In a fleet with the name of who does."""
    for fleet, more in ((None, ""), (Fleet(), " host-b (http://*:7000) leads this environment now")):
        world = AdminWorld(fleet=fleet, sends=False)
        await world.hold(config(flag("a")))
        async with world.client() as http:
            usage = (await http.get(API)).json()["usage"]
            page = (await http.get(PAGE)).text
        assert (usage["rows"], usage["since"]) == ([], None)
        assert f"Nothing is sent from here.{more}" in usage["note"]
        assert f"Nothing is sent from here.{more}" in page
        assert "No usage of this environment" not in page


@pytest.mark.parametrize(
    ("lease", "note"),
    [
        ("me", ""),
        ("other", "host-b (http://*:7000) leads this environment now and sends its usage."),
        ("older", "Another member leads this environment now and sends its usage."),
        ("", "This environment has no leader at the moment: usage waits in Redis."),
    ],
)
async def test_who_does_not_lead_says_who_does_and_what_it_has_sent(lease: str, note: str) -> None:
    """It may have led before."""
    fleet = Fleet()
    fleet.lease = lease
    world = AdminWorld(fleet=fleet)
    await world.hold(config(flag("a")))
    assert world.sent is not None
    world.sent.add([given("a", "true", 5)])
    async with world.client() as http:
        for path in (API, f"{API}/flags/a"):
            usage = (await http.get(path)).json()["usage"]
            assert (usage["note"], rows(usage)) == (note, [("a", "true", 5, 5)])
        assert note in (await http.get(PAGE)).text


async def test_what_had_to_be_forgotten_is_said_and_a_long_list_ends() -> None:
    """The API has all that is left of it."""
    world = AdminWorld()
    await world.hold(config(flag("a")))
    assert world.sent is not None
    world.sent.add([given(f"f{number}", "true", 1) for number in range(320)])
    async with world.client() as http:
        page = (await http.get(PAGE)).text
        kept = len((await http.get(API)).json()["usage"]["rows"])
    assert "some numbers are too low" in page
    assert kept < 320
    assert page.count('data-name="Since start"') == min(kept, 300)
