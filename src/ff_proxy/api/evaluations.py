"""Evaluates targets and caches the encoded results."""

from typing import Final, final

import mmh3

from ff_proxy.bounded import BoundedMap
from ff_proxy.model.environment import Revision
from ff_proxy.model.evaluation import NoEvaluation, Reason
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.target import Target
from ff_proxy.snapshots.encoded_body import EncodedBody
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.telemetry import Telemetry
from ff_proxy.wire.stored import fingerprint

_OVERHEAD: Final = 1024


@final
class TargetBody(EncodedBody):
    """A body for one target: most are sent once, so compressing one must not cost more than evaluating it."""

    gzip_level = 3

    def __init__(self, content: bytes, etag: bytes) -> None:
        super().__init__(content)
        self.etag = etag


def _body(content: bytes, target: bytes) -> TargetBody:
    """A body whose ETag hashes content and target (spec/behaviour#paths-and-caching).

    Murmur3-128 is fast, and a forged collision is harmless: it affects only the forger's own target.
    """
    return TargetBody(content, b'"%b"' % mmh3.hash_bytes(content + target).hex().encode())


class Evaluations:
    """Evaluates, and caches the full result of a target while the snapshot stays the same.

    Args:
        telemetry: counts and logs flags that yield no variation.
        budget: bytes of cached results over all environments.
    """

    def __init__(self, telemetry: Telemetry, *, budget: int = LEAST_SHARES.evaluations) -> None:
        self._unresolved = telemetry.metrics.unresolved
        self._once = telemetry.once("evaluations")
        # Twice the size: the compressed form may be cached too.
        self._cache: BoundedMap[tuple[EnvironmentId, bytes], tuple[Revision, EncodedBody]] = BoundedMap(
            budget, lambda _, kept: 2 * len(kept[1].content) + _OVERHEAD, telemetry.dropped("evaluations")
        )

    def all(self, snapshot: Snapshot, target: Target) -> tuple[EncodedBody, bool]:
        """All evaluations as a JSON array ordered by flag, and whether they came from the cache."""
        key = (snapshot.environment, fingerprint(target))
        kept = self._cache.get(key)
        if kept is not None and kept[0] == snapshot.revision:
            return kept[1], True
        content, left_out = snapshot.engine.evaluate_all_json(target)
        for missing in left_out:
            self._report(snapshot, missing)
        body = _body(content, key[1])
        self._cache.put(key, (snapshot.revision, body))
        return body, False

    def one(self, snapshot: Snapshot, flag: str, target: Target) -> EncodedBody | None:
        """One flag's evaluation, or ``None`` if there is no such flag or it yields no variation."""
        content = snapshot.engine.evaluate_json(flag, target)
        if isinstance(content, NoEvaluation):
            if content.reason is not Reason.UNKNOWN_FLAG:
                self._report(snapshot, content)
            return None
        return _body(content, fingerprint(target))

    def _report(self, snapshot: Snapshot, missing: NoEvaluation) -> None:
        self._unresolved.labels(snapshot.environment).inc()
        self._once.warning(
            "flag yields no variation",
            f"{snapshot.environment}/{missing.flag}",
            reason=missing.reason.value,
            detail=missing.detail,
        )
