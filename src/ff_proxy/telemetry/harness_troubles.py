"""Lines about Harness: who cannot use it, and why."""

from typing import Final

from ff_proxy.errors import UpstreamError, UpstreamRefused
from ff_proxy.telemetry.incidents import IncidentKind, Incidents, Subject

HARNESS_AWAY: Final = IncidentKind("Harness cannot be used", "Harness can be used again")


class HarnessTroubles:
    """Who cannot use Harness, and why: every request that is repeated until it works is told here."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    def failed(
        self, error: UpstreamError, doing: str, environment: str = "", *, key: str = "", advice: str = ""
    ) -> None:
        """``doing`` something failed; ``advice`` says what to do about it.

        A refusal is an error in the log: only people can mend it.
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
        """The same worked."""
        self._incidents.resolve(HARNESS_AWAY, Subject(environment, doing, key))

    def withdraw(self, environment: str = "", doing: str = "") -> None:
        """Somebody else keeps the environment in step now, or does that work."""
        self._incidents.withdraw(HARNESS_AWAY, environment, doing)

    @property
    def present(self) -> bool:
        """Something cannot be had from Harness now."""
        return self._incidents.is_open(HARNESS_AWAY)
