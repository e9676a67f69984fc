"""Whether the store accepts what is moved into it."""

from typing import Final

import msgspec

from ff_proxy.errors import StoreError
from ff_proxy.model.readiness import Readiness
from ff_proxy.telemetry import Telemetry


class StoreAcceptance:
    """Reports trouble with storing ``what``: a log line when it begins, one when it ends, and a reason."""

    def __init__(self, what: str, telemetry: Telemetry) -> None:
        self._what: Final = what
        self._once = telemetry.once("usage")
        self._log = telemetry.logger("usage")
        self._refuses = f"store does not accept {what}, keeping them in memory"
        self._trouble = ""

    def failed(self, error: StoreError) -> None:
        """It did not accept something now."""
        self._trouble = str(error)
        self._once.warning(self._refuses, error=self._trouble)

    def worked(self) -> None:
        """It has accepted everything."""
        self._trouble = ""
        if self._once.forget(self._refuses):
            self._log.info(f"store accepts {self._what} again")

    def merge_into(self, readiness: Readiness) -> Readiness:
        """Add the trouble, unless something else is said already: a store that is away has many effects."""
        if not self._trouble or readiness.degraded:
            return readiness
        return msgspec.structs.replace(readiness, degraded=(f"{self._refuses}: {self._trouble}",))
