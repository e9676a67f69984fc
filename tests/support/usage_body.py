"""Reading a whole body of usage at once."""

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import MEBIBYTE
from ff_proxy.wire.usage import UsageReport
from ff_proxy.wire.usage_reader import UsageKeys, UsageReader


def read_usage(body: bytes, environment: EnvironmentId, received: int) -> UsageReport:
    """See ``UsageReader`` for arguments and errors."""
    reader = UsageReader(environment, received, UsageKeys(MEBIBYTE))
    first, last = reader.feed(body), reader.finish()
    sdk = (first if first.counts else last).sdk
    return UsageReport(first.counts + last.counts, first.targets + last.targets, sdk, first.bad + last.bad)
