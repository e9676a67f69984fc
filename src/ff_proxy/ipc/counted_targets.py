"""A store for targets whose writes increment the shared generations."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import TargetStore, Unknown
from ff_proxy.wire.stored import same_target

_Key = tuple[EnvironmentId, str]


class CountedTargets:
    """Wraps ``targets`` and counts every write before it is acknowledged.

    A read that returns a pending write counts it too: another worker must not serve the older target later.
    """

    def __init__(self, targets: TargetStore, generations: SharedGenerations) -> None:
        self._targets = targets
        self._generations = generations
        self._writing: Counter[_Key] = Counter()

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``."""
        return self._targets.peek(environment, identifier)

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``."""
        found = await self._targets.get(environment, identifier)
        if (environment, identifier) in self._writing:
            self._generations.bump_target(environment, identifier)
        return found

    async def put(
        self,
        environment: EnvironmentId,
        target: Target,
        *,
        keep_attributes: bool = False,
        described_at: int | None = None,
    ) -> None:
        """See ``TargetStore``."""
        with self._counted(environment, [target]):
            await self._targets.put(
                environment, target, keep_attributes=keep_attributes, described_at=described_at
            )

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """See ``TargetStore``."""
        # A poll repeats all targets. Unchanged ones must not invalidate the workers' caches.
        changed = [target for target in targets if not self._holds(environment, target)]
        with self._counted(environment, changed):
            await self._targets.put_many(environment, targets)

    async def every(self, environment: EnvironmentId) -> Sequence[Target]:
        """See ``TargetStore``."""
        return await self._targets.every(environment)

    def _holds(self, environment: EnvironmentId, target: Target) -> bool:
        held = self.peek(environment, target.identifier)
        return isinstance(held, Target) and same_target(held, target)

    @contextmanager
    def _counted(self, environment: EnvironmentId, targets: Sequence[Target]) -> Iterator[None]:
        keys = [(environment, target.identifier) for target in targets]
        self._writing.update(keys)
        try:
            yield
        finally:
            for key in keys:
                self._writing[key] -= 1
                if not self._writing[key]:
                    del self._writing[key]
                self._generations.bump_target(*key)
