"""How often and how patiently: every interval of this room in one record, in seconds."""

from collections.abc import Awaitable, Callable

import msgspec

Sleep = Callable[[float], Awaitable[None]]
"""Waits that many seconds: ``asyncio.sleep``, or a test's clock."""


class Pace(msgspec.Struct, frozen=True):
    """The intervals an environment is kept in step by.

    ``stream`` is the option ``flag-stream-enabled``; ``poll``, ``keys`` and ``targets`` are the options
    ``flag-poll-interval``, ``api-key-refresh-interval`` and ``target-poll-duration`` (0: never).
    ``idle`` seconds of silence end a stream. ``refused`` is the time between tries with something that SaaS
    definitely refused. ``resync`` is the time after which a connected environment is fetched anyway, since
    SaaS's own fan-out may lose an event. ``grace`` is how long the first fetch waits for the stream.
    """

    stream: bool = True
    poll: float = 60.0
    keys: float = 60.0
    targets: float = 0.0
    idle: float = 45.0
    refused: float = 60.0
    resync: float = 900.0
    grace: float = 1.0
