"""Unit costs."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure that depends on a count: interpolated between measurements, and extrapolated."""

    points: Sequence[tuple[float, float]]

    def at(self, count: float) -> float:
        """The figure for ``count``, at least 0."""
        points = self.points
        if len(points) == 1:
            return points[0][1]
        place = 1
        while place < len(points) - 1 and count > points[place][0]:
            place += 1
        (x0, y0), (x1, y1) = points[place - 1], points[place]
        return max(0.0, y0 + (y1 - y0) * (count - x0) / (x1 - x0))


@dataclass(frozen=True, slots=True)
class Asked:
    """The work of Redis for one operation: commands, bytes in both directions, seconds of CPU."""

    commands: float = 0.0
    bytes: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Asked") -> "Asked":
        return Asked(self.commands + other.commands, self.bytes + other.bytes, self.cpu + other.cpu)

    def __mul__(self, times: float) -> "Asked":
        return Asked(self.commands * times, self.bytes * times, self.cpu * times)

    def __sub__(self, other: "Asked") -> "Asked":
        """The difference, at least 0."""
        return Asked(
            max(0.0, self.commands - other.commands),
            max(0.0, self.bytes - other.bytes),
            max(0.0, self.cpu - other.cpu),
        )


@dataclass(frozen=True, slots=True)
class RedisUnits:
    """Costs in Redis.

    Attributes:
        member: a second of a member.
        led: a second of an environment, by the member that leads it.
        followed: a second of an environment, by each other member.
        change: one change of one flag, with the member that wrote it.
        told: the same, by each other member.
        fetch: a flag asked for alone, unless others share the question.
        evaluation: evaluations asked for, each for another target, by many at a time.
        auth: a target that is new, kept and registered with Harness, likewise.
        post: usage of a member handed on, each time.
        count: one count in it that nothing is merged with, until Harness has it.
        flag_bytes: memory for a flag.
        target_bytes: memory for a target.
    """

    member: Asked
    led: Asked
    followed: Asked
    change: Asked
    told: Asked
    fetch: Asked
    evaluation: Asked
    auth: Asked
    post: Asked
    count: Asked
    flag_bytes: float
    target_bytes: float


@dataclass(frozen=True, slots=True)
class Units:
    """Seconds of a member's CPU, and bytes.

    Attributes:
        poll: a bulk read of so many flags.
        groups: a bulk read of the target groups, 20 of them.
        flag: one flag.
        evaluations: every one of so many flags for a target, not asked for before.
        evaluation: one flag for a target.
        auth: with a target that is new.
        post: a post of usage, whatever is in it.
        count: each count in it.
        connection: a new connection.
        preflight: what a browser asks before it asks something for the first time.
        stream: a stream opened, with its connection.
        stream_of_many: the same, when many are opened at once.
        handshake: TLS for one connection.
        event: one event on one stream.
        heartbeat: one heartbeat on one stream.
        stream_bytes: memory of a stream.
        connection_bytes: memory of a connection that waits for the next request.
        tls_bytes: further memory of a connection through TLS.
        process_bytes: memory of a process that holds nothing.
        environment_bytes: memory of an environment.
        flag_bytes: memory of a flag.
        body: bytes of a bulk read of so many flags, compressed.
        groups_body: of target groups, likewise.
        flag_body: of one flag, likewise.
        evaluations_body: of every evaluation of so many flags, likewise.
        evaluation_body: of one of them.
        event_body: of an event.
        takeover: seconds until another member follows Harness.
        ready: seconds from the start to ready with so many flags in all environments together.
        redis: what Redis is asked.
    """

    poll: Curve
    groups: float
    flag: float
    evaluations: Curve
    evaluation: float
    auth: float
    post: float
    count: float
    connection: float
    preflight: float
    stream: float
    stream_of_many: float
    handshake: float
    event: float
    heartbeat: float
    stream_bytes: float
    connection_bytes: float
    tls_bytes: float
    process_bytes: float
    environment_bytes: float
    flag_bytes: float
    body: Curve
    groups_body: float
    flag_body: float
    evaluations_body: Curve
    evaluation_body: float
    event_body: float
    takeover: float
    ready: Curve
    redis: RedisUnits
