"""Evaluations as bodies, kept for targets that come back."""

from functools import cached_property
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
from ff_proxy.store.fingerprint import fingerprint
from ff_proxy.telemetry import Telemetry

_OVERHEAD: Final = 1024


@final
class EvaluationBody(EncodedBody):
    """What one target gets; its ETag is a hash of content and target (spec/behaviour#paths-and-caching).

    Most are sent once, so compressing them must not cost more than evaluating.
    """

    gzip_level = 3

    def __init__(self, content: bytes, target: bytes) -> None:
        super().__init__(content)
        self._target = target

    @cached_property
    def etag(self) -> bytes:
        """The strong entity tag, quotes included.

        Murmur3 in 128 bits is quick, and nobody gains by a collision: it would keep one target's own answer.
        """
        return b'"%b"' % mmh3.hash_bytes(self.content + self._target).hex().encode()


class Evaluations:
    """Evaluates, and remembers whole lists by target as long as the snapshot is the same.

    Args:
        telemetry: told of flags that yield no variation.
        budget: bytes of remembered lists, over all environments.
    """

    def __init__(self, telemetry: Telemetry, *, budget: int = LEAST_SHARES.evaluations) -> None:
        self._unresolved = telemetry.metrics.unresolved
        self._once = telemetry.once("evaluations")
        # Twice: a client may ask for the compressed form as well.
        self._kept: BoundedMap[tuple[EnvironmentId, bytes], tuple[Revision, EncodedBody]] = BoundedMap(
            budget, lambda _, kept: 2 * len(kept[1].content) + _OVERHEAD, telemetry.dropped("evaluations")
        )

    def all(self, snapshot: Snapshot, target: Target) -> tuple[EncodedBody, bool]:
        """Every flag's evaluation, as a JSON array ordered by flag; and whether it was asked for before."""
        key = (snapshot.environment, fingerprint(target))
        kept = self._kept.get(key)
        if kept is not None and kept[0] == snapshot.revision:
            return kept[1], True
        content, left_out = snapshot.engine.evaluate_all_json(target)
        for missing in left_out:
            self._report(snapshot, missing)
        body = EvaluationBody(content, key[1])
        self._kept.put(key, (snapshot.revision, body))
        return body, False

    def one(self, snapshot: Snapshot, flag: str, target: Target) -> EncodedBody | None:
        """One flag's evaluation, or ``None`` if there is no such flag or it yields no variation."""
        content = snapshot.engine.evaluate_json(flag, target)
        if isinstance(content, NoEvaluation):
            if content.reason is not Reason.UNKNOWN_FLAG:
                self._report(snapshot, content)
            return None
        return EvaluationBody(content, fingerprint(target))

    def _report(self, snapshot: Snapshot, missing: NoEvaluation) -> None:
        self._unresolved.labels(snapshot.environment).inc()
        self._once.warning(
            "flag yields no variation",
            f"{snapshot.environment}/{missing.flag}",
            reason=missing.reason.value,
            detail=missing.detail,
        )
