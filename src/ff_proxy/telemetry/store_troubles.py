"""Log lines about failures of the store."""

from ff_proxy.errors import StoreError, StoreUnavailable
from ff_proxy.telemetry.grouped_lines import GroupedLines
from ff_proxy.telemetry.incidents import Incident, Subject
from ff_proxy.telemetry.logs import Logger

_AWAY = "the store cannot be used"
_BACK = "the store can be used again"


class StoreTroubles:
    """Tracks what cannot use the store, and why; one that reports itself has no line here."""

    def __init__(self, log: Logger, lines: GroupedLines) -> None:
        self._log = log
        self._away = Incident(_AWAY, _BACK, log, lines, word="subject")

    def failed(self, error: StoreError, doing: str, environment: str = "") -> None:
        """Report that the store failed ``doing`` something for ``environment``."""
        if isinstance(error, StoreUnavailable) and error.reported:
            self._log.debug(_AWAY, error=str(error), subject=doing)
            return
        cause = str(error)
        if environment:
            cause = cause.replace(environment, "{env}")
        self._away.report(cause, Subject(environment, doing), detail=str(error))

    def answered(self, doing: str, environment: str = "") -> None:
        """Report that it worked."""
        self._away.resolve(Subject(environment, doing))

    def withdraw(self, environment: str) -> None:
        """Forget an environment that another process has taken over."""
        self._away.withdraw(environment)
