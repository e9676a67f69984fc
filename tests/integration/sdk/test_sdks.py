"""The real Harness SDKs against SaaS (the control), a proxy in front of it, and a proxy with a directory.

The campaign takes about two minutes, whatever of it is looked at; see `campaign.py`.
"""

from typing import Final

import pytest

from tests.integration.sdk import shop
from tests.integration.sdk.campaign import EVALUATIONS_COUNTED, POLL, REFUSED, STREAM, Campaign
from tests.integration.sdk.places import CONTROL, OFFLINE, ONLINE, PLACES
from tests.sdk.sdks import Sdk

# The first test pays for the campaign, on a new machine for the packages and builds of the drivers too.
pytestmark = pytest.mark.timeout(900)

_at_every_place: Final = pytest.mark.parametrize("place", PLACES)
_at_a_proxy: Final = pytest.mark.parametrize("place", [ONLINE, OFFLINE])
_where_saas_is: Final = pytest.mark.parametrize("place", [CONTROL, ONLINE])

_ANSWERS: Final = {
    (question.flag, who["identifier"]): question.answer(who)
    for question in shop.QUESTIONS
    for who in shop.TARGETS
}


@_at_every_place
def test_initialises(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """The SDK authenticates and loads its flags."""
    assert campaign.record(place, STREAM, sdk)["ready"]


@_at_every_place
def test_evaluates_every_kind_for_every_target(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """Rules, groups, percentages, prerequisites and target maps give each target its variation."""
    assert campaign.record(place, STREAM, sdk)["answers"] == _ANSWERS


@_at_every_place
@pytest.mark.parametrize("change", [shop.STREAMED, shop.GROUPED, shop.NEWBORN, shop.DOOMED])
def test_sees_a_change_by_streaming(campaign: Campaign, place: str, sdk: Sdk, change: str) -> None:
    """A flag turned on, a group changed, a flag created and one deleted reach an SDK that streams."""
    record = campaign.record(place, STREAM, sdk)
    assert record["streaming"]
    assert record[change] >= 0


@_at_every_place
def test_sees_a_flip_by_polling(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """An SDK with streaming off sees a flip with its next poll, and has opened no stream."""
    record = campaign.record(place, POLL, sdk)
    assert record["before"] is False
    assert record[shop.POLLED] >= 0
    assert "streaming" not in record["events"]


@_where_saas_is
def test_sees_later_flips_after_a_cut(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """When the stream of SaaS was cut, what changes afterwards is seen."""
    assert campaign.record(place, STREAM, sdk)[shop.RESUMED] >= 0


@pytest.mark.parametrize("place", [ONLINE])
def test_keeps_its_stream_when_saas_cuts_the_proxys(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """The SDKs of a proxy do not notice that its own stream was cut."""
    assert "disconnected" not in campaign.record(place, STREAM, sdk)["events around the cut"]


@_at_a_proxy
@pytest.mark.parametrize("flag", [shop.RESTARTED, shop.RELIVED])
def test_sees_flips_of_and_after_a_restart(campaign: Campaign, place: str, sdk: Sdk, flag: str) -> None:
    """A flip while the proxy was away is seen after its restart, and a later one too."""
    assert campaign.record(place, STREAM, sdk)[flag] >= 0


@_at_every_place
def test_fails_cleanly_with_a_wrong_key(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """The SDK says that it has failed, serves defaults, and ends when it is closed."""
    record = campaign.record(place, REFUSED, sdk)
    assert record["ready"] is False
    assert record["default"] == "default"
    assert record["whole"] is None


@_at_every_place
@pytest.mark.parametrize("role", [STREAM, POLL])
def test_closes_cleanly(campaign: Campaign, place: str, sdk: Sdk, role: str) -> None:
    """Nothing failed from the first step to the last, closing included."""
    record = campaign.record(place, role, sdk)
    assert record["whole"] is None
    assert record.failed == {}


@_where_saas_is
def test_usage_arrives_at_saas(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """What the SDK counted is what SaaS got, no more and no less."""
    counted = campaign.usage[place, sdk.language, shop.COUNTED, "true"]
    if sdk.counts_each:
        assert counted == EVALUATIONS_COUNTED
    else:
        assert 1 <= counted <= EVALUATIONS_COUNTED


@_where_saas_is
def test_targets_arrive_at_saas(campaign: Campaign, place: str, sdk: Sdk) -> None:
    """SaaS knows the target that the SDK evaluated, with its attributes."""
    visitor = shop.visitor(sdk.name)
    assert campaign.targets[place][visitor["identifier"]]["attributes"] == visitor["attributes"]


@_at_every_place
def test_nothing_went_wrong_behind_the_scenes(campaign: Campaign, place: str) -> None:
    """The proxies started and stopped well, restarts included."""
    assert [line for line in campaign.trouble if line.startswith(f"{place}:")] == []
