"""From a flip at Harness to the new value in an SDK, through the proxy, with other streams open.

The sandbox plays Harness in a process of its own. The SDK is the Python one as applications use it; the
other streams belong to a program that fetches the flag whenever it is told of a change, as SDKs do.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from featureflags.client import CfClient
from featureflags.config import Config
from featureflags.evaluations.auth_target import Target

from bench.common.environments import Made
from bench.common.figures import Figure, percentile
from bench.common.local_servers import control_port
from bench.common.plan import BenchError, Plan
from bench.common.processes import HOST
from bench.common.results import Column, Row, Table
from bench.common.site import Site, site
from bench.common.streams import Clients, Programs, compiled

_MADE = Made("propagation", 100)
_TARGET = Target("somebody")
_SDK_WITHIN = 10.0
_ABOUT = (
    "Milliseconds from the request to flip a flag until the Python SDK gives the new value, and until the"
    " first, half, 99 % and all of the other streams were told and had fetched the flag."
)
_COLUMNS = (
    Column("Python SDK, half ms", 1),
    Column("Python SDK, p99 ms", 1),
    Column("Python SDK, all ms", 1),
    Column("first ms", 1),
    Column("half ms", 1),
    Column("p99 ms", 1),
    Column("all ms", 1, spread=True),
)


def measure(plan: Plan) -> Iterator[Table]:
    """The table; raises ``BenchError`` if a change does not arrive."""
    logging.disable(logging.CRITICAL)  # the SDK logs every event
    try:
        with compiled() as programs:
            rows = tuple(_row(programs, plan, streams) for streams in plan.pick((1, 1000), (2,)))
        yield Table("From a flip at Harness to the new value", _ABOUT, _COLUMNS, rows)
    finally:
        logging.disable(logging.NOTSET)


def _row(programs: Programs, plan: Plan, streams: int) -> Row:
    took: list[float] = []
    with site([_MADE]) as own, _sdk(own) as sdk:
        flag = _MADE.switch()
        served = cycle(("two", "one"))

        def flip(_: int) -> None:
            value = next(served)
            begun = time.perf_counter()
            own.saas.flip(flag, _MADE, value)
            while sdk.bool_variation(flag, _TARGET, value != "one") != (value == "one"):
                if time.perf_counter() - begun > _SDK_WITHIN:
                    raise BenchError(f"the SDK did not hear of a change within {_SDK_WITHIN:.0f} s")
                time.sleep(0.0005)
            took.append((time.perf_counter() - begun) * 1000)

        flip(1)  # whatever is done once only is done now
        took.clear()
        with control_port(flip) as control:
            clients = Clients(own.proxy, control, own.stream(_MADE), streams, fetch=_fetch(own, flag))
            given = clients.run(programs, plan.pick(200, 3), gap=plan.pick(100, 300)).rounds
    if any(one.lost > 0 for one in given):
        raise BenchError(f"{sum(one.lost for one in given)} events never came")
    figures = [Figure.of(took), Figure.of([percentile(took, 0.99)]), Figure.of([max(took)])]
    figures += [
        Figure.of(values)
        for values in zip(*((one.first, one.half, one.most, one.last) for one in given), strict=True)
    ]
    return Row(f"{streams:,} stream{'s' if streams > 1 else ''}", tuple(figures))


@contextmanager
def _sdk(own: Site) -> Iterator[CfClient]:
    url = f"http://{HOST}:{own.proxy.port}/api/1.0"
    sdk = CfClient(_MADE.key, config=Config(base_url=url, events_url=url, enable_analytics=False))
    try:
        sdk.wait_for_initialization()
        if not sdk.is_initialized():
            raise BenchError("the Python SDK did not initialise")
        yield sdk
    finally:
        sdk.close()


def _fetch(own: Site, flag: str) -> bytes:
    return own.raw(_MADE, f"/client/env/{_MADE.id}/feature-configs/{flag}?cluster=1", {})
