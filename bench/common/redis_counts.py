"""A private Redis, and its own counters of its work."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from redis import Redis

from bench.common.processes import HOST
from bench.common.redis import redis_server

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Counted:
    """Commands, bytes received and sent, seconds of CPU, within so many ``seconds``."""

    commands: float
    received: float
    sent: float
    cpu: float
    seconds: float

    def less(self, other: "Counted", times: float = 1.0) -> "Counted":
        """The difference to a multiple of the other; the seconds stay."""
        return Counted(
            max(0.0, self.commands - other.commands * times),
            max(0.0, self.received - other.received * times),
            max(0.0, self.sent - other.sent * times),
            max(0.0, self.cpu - other.cpu * times),
            self.seconds,
        )

    def each(self, count: float) -> "Counted":
        """The share of one, of ``count`` equal ones."""
        return Counted(
            self.commands / count, self.received / count, self.sent / count, self.cpu / count, self.seconds
        )


class CountingRedis:
    """A running Redis; ``address`` is the option's value for it."""

    def __init__(self, client: Redis, address: str) -> None:
        self.address = address
        self._client = client
        # What asking for the figures adds to them.
        self._own = self._since(self._now())

    def during(self, what: Callable[[], object]) -> Counted:
        """The counts while ``what`` runs."""
        before = self._now()
        what()
        return self._since(before).less(self._own)

    def fill(self, name: str, fields: Sequence[tuple[str, str]]) -> None:
        """Set fields of a hash, 500 at a time."""
        for start in range(0, len(fields), _BATCH):
            self._client.hset(name, mapping=dict(fields[start : start + _BATCH]))

    def memory(self) -> float:
        """Bytes that it has allocated."""
        return float(self._client.info("memory")["used_memory"])

    def _since(self, before: Counted) -> Counted:
        now = self._now()
        return Counted(*(getattr(now, name) - getattr(before, name) for name in Counted.__slots__))

    def _now(self) -> Counted:
        stats, cpu = self._client.info("stats"), self._client.info("cpu")
        return Counted(
            stats["total_commands_processed"],
            stats["total_net_input_bytes"],
            stats["total_net_output_bytes"],
            cpu["used_cpu_user"] + cpu["used_cpu_sys"],
            time.monotonic(),
        )


@contextmanager
def counting_redis() -> Iterator[CountingRedis]:
    """One that keeps nothing on disk; needs ``redis-server``."""
    with redis_server() as server, Redis(HOST, server.port) as client:
        yield CountingRedis(client, f"{HOST}:{server.port}")
