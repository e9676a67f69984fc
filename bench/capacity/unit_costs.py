"""The page's table of what was measured and goes into the model."""

from collections.abc import Iterator

from bench.capacity.units import Asked, Units
from bench.capacity.wording import micros, number, seconds, size, table


def unit_costs(units: Units) -> Iterator[str]:
    """CPU and memory of members, and what Redis is asked."""
    yield "## Unit costs"
    yield "Taken from the results; `docs/performance.md` has them as they were measured."
    rows = [
        ["flags and target groups polled, 100 flags", micros(units.poll.at(100) + units.groups), "reads"],
        ["one flag fetched, Redis asked", micros(units.flag), "fleet"],
        ["all evaluations, 100 flags, a new target", micros(units.evaluations.at(100)), "reads, fleet"],
        ["one evaluation, a new target", micros(units.evaluation), "reads, fleet"],
        ["authentication of a new target", micros(units.auth), "fleet"],
        ["a post of usage", micros(units.post), "fleet"],
        ["each count in it", micros(units.count), "fleet"],
        ["a new connection", micros(units.connection), "connections"],
        ["a preflight of a browser", micros(units.preflight), "connections"],
        ["a stream opened, alone", micros(units.stream), "connections"],
        ["a stream opened, in a crowd", micros(units.stream_of_many), "connections"],
        ["TLS for a connection", micros(units.handshake), "connections"],
        ["a heartbeat", micros(units.heartbeat), "connections"],
        ["an event, each stream", micros(units.event), "streams"],
    ]
    yield table(["CPU of a member", "", "benchmark"], rows)
    rows = [
        ["a process", size(units.process_bytes), "startup"],
        ["an environment", size(units.environment_bytes), "startup"],
        ["a flag", size(units.flag_bytes), "startup"],
        ["a stream", size(units.stream_bytes), "streams"],
        ["a connection that waits for a request", size(units.connection_bytes), "connections"],
        ["TLS of a stream or connection", size(units.tls_bytes), "connections"],
        ["start to ready, one small environment", seconds(units.ready.points[0][1]), "startup"],
        ["another member follows Harness after", seconds(units.takeover), "fleet"],
    ]
    yield table(["memory and time of a member", "", "benchmark"], rows)
    redis = units.redis
    asked = {
        "a second of a member": redis.member,
        "a second of an environment, by the member that leads it": redis.led,
        "a second of an environment, by each other member": redis.followed,
        "a change, by the member that writes it": redis.change,
        "a change, by each other member": redis.told,
        "a flag fetched": redis.fetch,
        "evaluations, many at a time": redis.evaluation,
        "authentication of new targets, many at a time": redis.auth,
        "a target put back": redis.kept,
        "usage handed on, each time": redis.post,
        "a count in it, until Harness has it": redis.count,
    }
    yield table(
        ["asked of Redis", "commands", "bytes", "CPU"], [_asked(name, one) for name, one in asked.items()]
    )


def _asked(name: str, one: Asked) -> list[str]:
    return [name, number(one.commands), size(one.bytes), micros(one.cpu)]
