"""What clients sent in."""

from typing import Any

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.received import Journal, ReceivedRequest, ReceivedUsage, UsagePost, UsageSum, masked

ENVIRONMENT = EnvironmentId("e1")


def post(*entries: dict[str, Any]) -> UsagePost:
    """A usage post with these entries."""
    return UsagePost(ENVIRONMENT, "1", {"metricsData": list(entries)})


def entry(count: object = 1, **attributes: object) -> dict[str, Any]:
    """An entry as SDKs write it."""
    pairs = [{"key": key, "value": value} for key, value in attributes.items()]
    return {"count": count, "metricsType": "FFMETRICS", "attributes": pairs}


def request(route: str = "auth", environment: str = "e1", status: int = 200) -> ReceivedRequest:
    """A request that was answered."""
    return ReceivedRequest(route, environment, "GET", "/x", "", {}, status)


class TestReceivedUsage:
    def test_counts_of_the_same_flag_variation_and_target_add_up(self) -> None:
        """Over entries and over posts."""
        usage = ReceivedUsage()
        one = {"featureIdentifier": "f", "variationIdentifier": "on", "target": "global"}
        usage.add(post(entry(2, **one), entry(3, **one)))
        usage.add(post(entry(4, **one)))
        assert usage.sums() == [UsageSum(ENVIRONMENT, "f", "on", "global", 9)]
        assert usage.received == 2

    def test_sdks_that_send_the_name_only_are_counted_under_it(self) -> None:
        """Java, .NET and Ruby do."""
        usage = ReceivedUsage()
        usage.add(post(entry(1, featureName="f", variationIdentifier="on", target="t")))
        assert [total.flag for total in usage.sums()] == ["f"]

    def test_odd_entries_do_no_harm(self) -> None:
        """Nulls, missing lists and texts for counts are what SDKs send."""
        usage = ReceivedUsage()
        usage.add(UsagePost(ENVIRONMENT, "1", {"metricsData": None}))
        usage.add(UsagePost(ENVIRONMENT, "1", {}))
        usage.add(
            UsagePost(ENVIRONMENT, "1", {"metricsData": [None, "x", {"attributes": [None, {"key": []}]}]})
        )
        usage.add(post({"count": "many"}, {"count": 1, "attributes": None}, {"count": 2, "attributes": [{}]}))
        assert [total.count for total in usage.sums()] == [3]
        assert len(usage.posts()) == 4

    def test_a_reset_forgets(self) -> None:
        """Sums, posts and their number."""
        usage = ReceivedUsage()
        usage.add(post(entry(1, featureIdentifier="f")))
        usage.reset()
        assert (usage.sums(), list(usage.posts()), usage.received) == ([], [], 0)


class TestJournal:
    def test_requests_are_counted_by_route_environment_and_status(self) -> None:
        """A test asks for what it cares about."""
        journal = Journal()
        for status in (200, 200, 503):
            journal.add(request(status=status))
        journal.add(request(environment="e2"))
        journal.add(request(route="flags"))
        assert journal.count("auth") == 4
        assert journal.count("auth", environment="e1") == 3
        assert journal.count("auth", status=503) == 1
        assert journal.counts() == {"auth": {"200": 3, "503": 1}, "flags": {"200": 1}}

    def test_the_newest_requests_are_kept(self) -> None:
        """Not all of them: a poller runs for days."""
        journal = Journal()
        for status in range(1500):
            journal.add(request(status=status))
        assert [one.status for one in journal.recent()][::999] == [500, 1499]
        journal.reset()
        assert journal.counts() == {}


def test_credentials_are_masked() -> None:
    """Whatever the case of the header's name."""
    shown = masked(
        [(b"Authorization", b"Bearer x"), (b"API-Key", b"k"), (b"x-api-key", b"t"), (b"Accept", b"*")]
    )
    assert shown == {"authorization": "***", "api-key": "***", "x-api-key": "***", "accept": "*"}
