"""Restarts work that must run as long as the process does (spec/behaviour#containment)."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, NoReturn

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.model.backoff import Backoff
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Failures

STEADY: Final = 10.0
"""Seconds after which restarted work counts as recovered."""


async def keep_going(
    work: Callable[[], Awaitable[object]],
    service: str,
    *,
    subject: str = "",
    clock: Clock,
    random: Random,
    failures: Failures,
) -> NoReturn:
    """Run ``work``, which should never end, until cancelled; restart it whenever it fails or ends.

    Failures are reported for ``service`` and ``subject``. The backoff before a restart grows to half a
    minute, and is reset once the work has run for ``STEADY`` seconds.
    """
    backoff = Backoff(random)

    async def recover() -> None:
        await clock.sleep(STEADY)
        backoff.reset()
        failures.recovered(service, subject)

    while True:
        check = CancellationCheck()
        recovering = asyncio.create_task(recover())
        failure: BaseException
        try:
            # In a task of its own: before Python 3.13 a failing task group can leave its task marked as
            # cancelled, which would look like the end of the process.
            await asyncio.create_task(_await(work), name=service)
        except asyncio.CancelledError as error:
            if check.cancelled():
                raise
            failure = error
        except Exception as error:  # noqa: BLE001  (no failure may end the process)
            # A task group whose tasks fail at the moment of a cancellation must not hide it.
            check.raise_if_cancelled(error)
            failure = error
        else:
            check.raise_if_cancelled()
            failure = RuntimeError("it ended by itself")
        finally:
            recovering.cancel()
        failures.add(service, failure, subject)
        del failure
        await clock.sleep(backoff.next())


async def _await(work: Callable[[], Awaitable[object]]) -> None:
    await work()
