"""What stands behind a serving process: a store of its own, or a fleet's."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ff_proxy.api.ports import Freshness
from ff_proxy.app.secrets import unused
from ff_proxy.app.serving import nothing_bound
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Service
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import Store
from ff_proxy.upstream.leadership import Leadership
from ff_proxy.upstream.service import Upstream


@dataclass(frozen=True, slots=True)
class Backing:
    """A store, and this process's part in who else uses it.

    ``leads`` says which environments this process sends usage for. Given the upstream, ``services`` makes
    what keeps the store's side going, and ``readiness`` says how far both sides have come. ``others`` are the
    secrets that other members sign with, if not with the same, ``bound`` the same of single environments, and
    ``signed_with`` hears of those that are signed with here. ``standalone`` are environments that are kept in
    this process's memory until the store answers.
    """

    store: Store
    leadership: Leadership
    leads: Callable[[EnvironmentId], bool]
    freshness: Callable[[SnapshotRegistry], Freshness]
    services: Callable[[Upstream], Sequence[Service]]
    readiness: Callable[[Upstream], Readiness]
    others: Callable[[], Collection[Secret]] = tuple
    bound: Callable[[EnvironmentId], Collection[Secret]] = nothing_bound
    signed_with: Callable[[EnvironmentId, Secret], object] = unused
    standalone: Callable[[], frozenset[EnvironmentId]] = frozenset
