"""Work that is to go on for as long as the process does, whatever happens to it.

See spec/behaviour#containment.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, NoReturn

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.model.backoff import Backoff
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Failures

STEADY: Final = 10.0
"""Seconds after which work that was begun again counts as recovered."""


async def keep_going(
    work: Callable[[], Awaitable[object]],
    service: str,
    *,
    subject: str = "",
    clock: Clock,
    random: Random,
    failures: Failures,
) -> NoReturn:
    """Do ``work``, which never ends, until cancelled: whenever it fails or ends it is begun again.

    Failures are reported under the name of ``service``, and about ``subject``; the pause before the next try
    grows to half a minute, and is short again once the work has gone well for ``STEADY`` seconds.
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
            await work()
        except asyncio.CancelledError as error:
            if check.cancelled():
                raise
            failure = error
        except Exception as error:  # noqa: BLE001  (whatever it is, the others go on)
            # Tasks of a group that fail in the moment of a cancellation must not hide it.
            check.raise_if_cancelled(error)
            failure = error
        else:
            failure = RuntimeError("it ended by itself")
        finally:
            recovering.cancel()
        failures.add(service, failure, subject)
        del failure
        await clock.sleep(backoff.next())
