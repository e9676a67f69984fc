"""The name of every key (documented for operators in docs/storage.md)."""

import re
from typing import Final

from ff_proxy.model.keys import EnvironmentId

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:-]+")


def encoded(text: str) -> bytes:
    """``text`` as a key or field; supports lone surrogates, which identifiers in JSON may contain."""
    return text.encode("utf-8", "surrogatepass")


class Keys:
    """Names under one prefix; those of an environment share a hash tag, hence a Cluster slot."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.environments: Final = f"{prefix}:environments"
        self.queues: Final = f"{prefix}:queues"
        self.registering: Final = f"{prefix}:registering"
        self.secret: Final = f"{prefix}:secret"
        self.secrets: Final = f"{prefix}:secrets"
        self.bound_secrets: Final = f"{prefix}:secrets:bound"
        self.notices: Final = f"{prefix}:notices"
        self.bus: Final = f"{prefix}:hints"
        self.born: Final = f"{prefix}:born"
        self.members: Final = f"{prefix}:members"

    def config(self, environment: EnvironmentId) -> str:
        """Hash: epoch, counter, fence, life, info, keys, since, rows, status and its reporter, removed."""
        return self._of(environment, "config")

    def items(self, environment: EnvironmentId) -> str:
        """Hash: ``<domain>:<identifier>`` → version, digest, time of change, JSON."""
        return self._of(environment, "items")

    def moved(self, environment: EnvironmentId) -> str:
        """Sorted set: the items by the counter of their last change."""
        return self._of(environment, "moved")

    def recent(self, environment: EnvironmentId) -> str:
        """Sorted set: the last 2,000 items that changed, by the wall-clock second."""
        return self._of(environment, "recent")

    def lease(self, environment: EnvironmentId) -> str:
        """Text with a time to live: the environment's leader, and its fencing number."""
        return self._of(environment, "lease")

    def targets(self, environment: EnvironmentId) -> str:
        """Hash: identifier → target."""
        return self._of(environment, "targets")

    def usage_counts(self, environment: EnvironmentId) -> str:
        """Hash: usage key → count and timestamp."""
        return self._of(environment, "usage:counts")

    def usage_targets(self, environment: EnvironmentId) -> str:
        """Hash: identifier → target seen by server SDKs."""
        return self._of(environment, "usage:targets")

    def usage_leases(self, environment: EnvironmentId) -> str:
        """Sorted set: leases on their way to Harness, by the time at which they expire."""
        return self._of(environment, "usage:leases")

    def usage_bytes(self, environment: EnvironmentId) -> str:
        """Number: about the bytes that counts, targets and leases take; computed again if it is lost."""
        return self._of(environment, "usage:bytes")

    def usage_merged(self, environment: EnvironmentId) -> str:
        """Sorted set: the names of recent merges, so that none counts twice."""
        return self._of(environment, "usage:merged")

    def usage_lease(self, environment: EnvironmentId, lease: str) -> str:
        """Hash: the entries of one lease."""
        return self._of(environment, f"usage:lease:{lease}")

    def registrations(self, environment: EnvironmentId) -> tuple[str, str, str, str]:
        """The order and content of queued targets, targets in flight, fingerprints of sent ones."""
        return (
            self._of(environment, "registrations:order"),
            self._of(environment, "registrations:waiting"),
            self._of(environment, "registrations:taken"),
            self._of(environment, "registrations:sent"),
        )

    def _of(self, environment: EnvironmentId, part: str) -> str:
        # The "=" keeps encoded names apart from plain ones, so no two environments share keys.
        plain = _PLAIN.fullmatch(environment)
        tag = environment if plain else "=" + encoded(environment).hex()
        return f"{self._prefix}:{{{tag}}}:{part}"
