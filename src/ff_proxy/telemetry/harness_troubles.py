"""Log lines about failures of Harness."""

from ff_proxy.errors import UpstreamError, UpstreamRefused
from ff_proxy.telemetry.grouped_lines import GroupedLines
from ff_proxy.telemetry.incidents import Incident, Subject
from ff_proxy.telemetry.logs import Logger


class HarnessTroubles:
    """Tracks who cannot use Harness, and why; every request that is retried reports here."""

    def __init__(self, log: Logger, lines: GroupedLines) -> None:
        self._away = Incident("Harness cannot be used", "Harness can be used again", log, lines)

    def failed(
        self, error: UpstreamError, doing: str, environment: str = "", *, key: str = "", advice: str = ""
    ) -> None:
        """Report that ``doing`` something failed; ``advice`` says what to do about it.

        A refusal is logged as an error, because only people can fix it.
        """
        cause = error.shared_cause or str(error)
        if environment:
            cause = cause.replace(environment, "{env}")
        self._away.report(
            f"{cause}: {advice}" if advice else cause,
            Subject(environment, doing, key),
            severe=isinstance(error, UpstreamRefused),
            detail=str(error),
        )

    def answered(self, doing: str, environment: str = "", *, key: str = "") -> None:
        """Report that it worked."""
        self._away.resolve(Subject(environment, doing, key))

    def withdraw(self, environment: str = "", doing: str = "", *, key: str = "") -> None:
        """Forget an environment, task or key that this process has nothing to do with any more."""
        self._away.withdraw(environment, doing, key)
