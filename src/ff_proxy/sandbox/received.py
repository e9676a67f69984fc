"""Usage posts and requests that the sandbox has received."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ff_proxy.model.keys import EnvironmentId

_POSTS_KEPT: Final = 1000
_REQUESTS_KEPT: Final = 1000
_MASKED: Final = frozenset({"authorization", "api-key", "x-api-key"})


def objects(content: object) -> list[dict[str, Any]]:
    """The objects in what should be a list of objects; SDKs also send null and others."""
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def pairs(content: object) -> dict[str, Any]:
    """A list of ``{"key", "value"}`` as a mapping."""
    return {pair["key"]: pair.get("value") for pair in objects(content) if isinstance(pair.get("key"), str)}


class UsageSum(msgspec.Struct, frozen=True):
    """How often a variation of a flag was served to a target."""

    environment: EnvironmentId
    flag: str
    variation: str
    target: str
    count: int


class UsagePost(msgspec.Struct, frozen=True):
    """The body of one post."""

    environment: EnvironmentId
    cluster: str
    body: Mapping[str, Any]


class ReceivedUsage:
    """Usage posts: sums of all, and the newest thousand themselves."""

    def __init__(self) -> None:
        self._sums: Counter[tuple[EnvironmentId, str, str, str]] = Counter()
        self._posts: deque[UsagePost] = deque(maxlen=_POSTS_KEPT)
        self.received = 0

    def add(self, post: UsagePost) -> None:
        """Add a post; entries without a usable count are not part of the sums."""
        self._posts.append(post)
        self.received += 1
        for entry in objects(post.body.get("metricsData")):
            count = entry.get("count")
            if not isinstance(count, int):
                continue
            said = pairs(entry.get("attributes"))
            flag = said.get("featureIdentifier") or said.get("featureName") or ""
            key = (
                post.environment,
                str(flag),
                str(said.get("variationIdentifier", "")),
                str(said.get("target", "")),
            )
            self._sums[key] += count

    def sums(self) -> list[UsageSum]:
        """Totals since the last reset, in a stable order."""
        return [UsageSum(*key, count) for key, count in sorted(self._sums.items())]

    def posts(self) -> Sequence[UsagePost]:
        """The newest posts, oldest first."""
        return tuple(self._posts)

    def reset(self) -> None:
        """Forget everything."""
        self._sums.clear()
        self._posts.clear()
        self.received = 0


class ReceivedRequest(msgspec.Struct, frozen=True):
    """One request: ``path`` is raw, ``query`` as sent, credentials in ``headers`` are masked."""

    route: str
    environment: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    status: int


class Journal:
    """Requests by route, environment and status (0: never answered), and the newest thousand."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._recent: deque[ReceivedRequest] = deque(maxlen=_REQUESTS_KEPT)

    def add(self, request: ReceivedRequest) -> None:
        """Add a request that was answered, or abandoned (status 0)."""
        self._counts[request.route, request.environment, request.status] += 1
        self._recent.append(request)

    def count(self, route: str, *, environment: str | None = None, status: int | None = None) -> int:
        """How many requests a route had, of one environment or with one status if given."""
        return sum(
            count
            for (its_route, its_environment, its_status), count in self._counts.items()
            if its_route == route and environment in {None, its_environment} and status in {None, its_status}
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Requests by route and status."""
        table: dict[str, dict[str, int]] = {}
        for (route, _, status), count in sorted(self._counts.items()):
            row = table.setdefault(route, {})
            row[str(status)] = row.get(str(status), 0) + count
        return table

    def recent(self) -> Sequence[ReceivedRequest]:
        """The newest requests, oldest first."""
        return tuple(self._recent)

    def reset(self) -> None:
        """Forget everything."""
        self._counts.clear()
        self._recent.clear()


def masked(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header texts by lower-case name, credentials replaced by stars."""
    texts = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        texts[name] = "***" if name in _MASKED else raw_value.decode("latin-1")
    return texts
