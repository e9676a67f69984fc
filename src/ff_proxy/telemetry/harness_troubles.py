"""Log lines about failures of Harness."""

from typing import Final

from ff_proxy.errors import UpstreamError, UpstreamRefused
from ff_proxy.telemetry.incidents import IncidentKind, Incidents, Subject

HARNESS_AWAY: Final = IncidentKind("Harness cannot be used", "Harness can be used again")


class HarnessTroubles:
    """Tracks who cannot use Harness, and why; every request that is retried reports here."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    def failed(
        self, error: UpstreamError, doing: str, environment: str = "", *, key: str = "", advice: str = ""
    ) -> None:
        """Report that ``doing`` something failed; ``advice`` says what to do about it.

        A refusal is logged as an error, because only people can fix it.
        """
        cause = error.shared_cause or str(error)
        if environment:
            cause = cause.replace(environment, "{env}")
        self._incidents.report(
            HARNESS_AWAY,
            f"{cause}: {advice}" if advice else cause,
            Subject(environment, doing, key),
            severe=isinstance(error, UpstreamRefused),
            detail=str(error),
        )

    def answered(self, doing: str, environment: str = "", *, key: str = "") -> None:
        """Report that it worked."""
        self._incidents.resolve(HARNESS_AWAY, Subject(environment, doing, key))

    def withdraw(self, environment: str = "", doing: str = "") -> None:
        """Forget an environment or task that another process has taken over."""
        self._incidents.withdraw(HARNESS_AWAY, environment, doing)

    @property
    def present(self) -> bool:
        """Whether anything from Harness is currently failing."""
        return self._incidents.is_open(HARNESS_AWAY)
