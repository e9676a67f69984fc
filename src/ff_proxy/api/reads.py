"""Reads of flags, segments and evaluations: answered from snapshots, after asking the store where needed."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal, final
from weakref import WeakKeyDictionary

from ff_proxy.api.access import Access, Outdated, bearer_token
from ff_proxy.api.encoded_response import Form, encoded_response, form_of
from ff_proxy.api.evaluations import Evaluations
from ff_proxy.api.ports import Freshness
from ff_proxy.errors import RequestError, StoreError
from ff_proxy.http.handler import Cacheable, Lease, Outcome
from ff_proxy.http.headers import Headers
from ff_proxy.http.request import Request
from ff_proxy.http.response import FORBIDDEN, UNAUTHORIZED, Response
from ff_proxy.model.environment import Domain
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.snapshots.encoded_body import EncodedBody
from ff_proxy.snapshots.registry import Announcement, SnapshotRegistry
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.store.protocol import Targets, Unknown
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.telemetry import Telemetry
from ff_proxy.wire.sdk import read_target_header

READ_HEADERS: Final = (b"authorization", b"accept-encoding", b"if-none-match")
"""The header fields that reads of flags and segments depend on."""

EVALUATION_HEADERS: Final = (*READ_HEADERS, b"harness-target")
"""The header fields that evaluations depend on."""


@final
class _MustWait:
    """The answer needs the store: the target named ``target``, or for ``None`` the current revision."""

    __slots__ = ("target",)

    def __init__(self, target: str | None = None) -> None:
        self.target: Final = target


class _Known:
    """What the store has answered: whether the snapshot is current, and the targets looked up."""

    __slots__ = ("current", "targets")

    def __init__(self) -> None:
        self.current = False
        self.targets: dict[str, Target | None] = {}


_NOTHING: Final = _Known()


class _Forms:
    """The responses of one body of a snapshot, by form; each is built once."""

    __slots__ = ("_body", "_made")

    def __init__(self, body: EncodedBody) -> None:
        self._body: Final = body
        self._made: dict[Form, Response] = {}

    def response(self, headers: Headers) -> Response:
        form = form_of(self._body, headers)
        made = self._made.get(form)
        if made is None:
            made = self._made[form] = encoded_response(self._body, form, shared=True)
        return made


class _SnapshotLeases:
    """One lease per environment's current snapshot; swapping the snapshot ends it in the same step.

    Revoking a key swaps the snapshot too, so a cache hit need not check the key.
    """

    def __init__(self, snapshots: SnapshotRegistry) -> None:
        self._leases: Final[dict[EnvironmentId, Lease]] = {}
        snapshots.listen(self._swapped)

    def of(self, environment: EnvironmentId) -> Lease:
        """The lease of a loaded environment."""
        lease = self._leases.get(environment)
        if lease is None:
            lease = self._leases[environment] = Lease()
        return lease

    def _swapped(self, announcement: Announcement) -> None:
        lease = self._leases.pop(announcement.environment, None)
        if lease is not None:
            lease.current = False


_Make = Callable[[Request, Snapshot, _Known], "Outcome | _MustWait"]


class Reads:
    """Answers reads: a method for each route.

    Args:
        access: authorizes requests.
        targets: the targets that SDKs sent when they authenticated.
        freshness: whether a snapshot is current enough to answer at once.
        evaluations: evaluates targets.
        snapshots: swapping one ends its cached responses.
        lists: records which tokens have fetched all flags or all segments.
        telemetry: logs invalid ``Harness-Target`` headers.
    """

    def __init__(
        self,
        access: Access,
        targets: Targets,
        freshness: Freshness,
        evaluations: Evaluations,
        snapshots: SnapshotRegistry,
        lists: ListReads,
        telemetry: Telemetry,
    ) -> None:
        self._access = access
        self._targets = targets
        self._freshness = freshness
        self._evaluations = evaluations
        self._leases = _SnapshotLeases(snapshots)
        self._lists = lists
        self._once = telemetry.once("reads")
        self._forms: WeakKeyDictionary[Snapshot, dict[str, _Forms]] = WeakKeyDictionary()

    # --- routes

    def flags(self, request: Request) -> Outcome | Awaitable[Outcome]:
        """All flags."""
        return self._answer(request, self._all_flags, bulk=True, unverified=FORBIDDEN)

    def flag(self, request: Request) -> Outcome | Awaitable[Outcome]:
        """One flag; 404 if there is none."""
        return self._answer(request, self._one_flag, bulk=False, unverified=FORBIDDEN)

    def segments(self, request: Request) -> Outcome | Awaitable[Outcome]:
        """All segments, in the format that the query asks for."""
        return self._answer(request, self._all_segments, bulk=True, unverified=FORBIDDEN)

    def segment(self, request: Request) -> Outcome | Awaitable[Outcome]:
        """One segment, in the format that the query asks for; 404 if there is none."""
        return self._answer(request, self._one_segment, bulk=False, unverified=FORBIDDEN)

    def evaluations(self, request: Request) -> Outcome | Awaitable[Outcome]:
        """The evaluation of all flags, or of one, for a target."""
        return self._answer(request, self._evaluated, bulk=False, unverified=UNAUTHORIZED)

    # --- now or later

    def _answer(
        self, request: Request, make: _Make, *, bulk: bool, unverified: int
    ) -> Outcome | Awaitable[Outcome]:
        now = partial(self._now, request, make, bulk=bulk, unverified=unverified)
        outcome = now(_NOTHING)
        return self._later(request, now, outcome) if isinstance(outcome, _MustWait) else outcome

    def _now(
        self, request: Request, make: _Make, known: _Known, *, bulk: bool, unverified: int
    ) -> "Outcome | _MustWait":
        environment = EnvironmentId(request.params["env"])
        try:
            snapshot = self._access.read(request.headers, environment, unverified=unverified)
        except Outdated:
            if not known.current:
                return _MustWait()
            raise
        if not known.current and not self._freshness.fresh(environment, bulk=bulk):
            return _MustWait()
        return make(request, snapshot, known)

    async def _later(
        self, request: Request, now: "Callable[[_Known], Outcome | _MustWait]", missing: _MustWait
    ) -> Outcome:
        environment = EnvironmentId(request.params["env"])
        known = _Known()
        outcome: Outcome | _MustWait = missing
        while isinstance(outcome, _MustWait):
            if outcome.target is None:
                await self._freshness.refresh(environment)
                known.current = True
            else:
                known.targets[outcome.target] = await self._stored(environment, outcome.target)
            outcome = now(known)
        return outcome

    def _cacheable(self, snapshot: Snapshot, response: Response, *, bulk: bool) -> Cacheable:
        environment = snapshot.environment
        check = self._freshness.checker(environment, bulk=bulk)
        return Cacheable(response, self._leases.of(environment), check)

    # --- flags and segments

    def _all_flags(self, request: Request, snapshot: Snapshot, _: _Known) -> Cacheable:
        self._lists.note(bearer_token(request.headers), Domain.FLAG)
        return self._list(request, snapshot, "flags", lambda: snapshot.flags)

    def _all_segments(self, request: Request, snapshot: Snapshot, _: _Known) -> Cacheable:
        self._lists.note(bearer_token(request.headers), Domain.SEGMENT)
        v2 = _asks_rules_v2(request)
        name = "segments, v2" if v2 else "segments"
        return self._list(request, snapshot, name, lambda: snapshot.segments(rules_v2=v2))

    def _list(
        self, request: Request, snapshot: Snapshot, name: str, body: Callable[[], EncodedBody]
    ) -> Cacheable:
        made = self._forms.get(snapshot)
        if made is None:
            made = self._forms[snapshot] = {}
        forms = made.get(name)
        if forms is None:
            forms = made[name] = _Forms(body())
        return self._cacheable(snapshot, forms.response(request.headers), bulk=True)

    def _one_flag(self, request: Request, snapshot: Snapshot, _: _Known) -> Cacheable:
        response = _single(snapshot.flag(request.params["id"]), "flag", request.headers)
        return self._cacheable(snapshot, response, bulk=False)

    def _one_segment(self, request: Request, snapshot: Snapshot, _: _Known) -> Cacheable:
        body = snapshot.segment(request.params["id"], rules_v2=_asks_rules_v2(request))
        return self._cacheable(snapshot, _single(body, "segment", request.headers), bulk=False)

    # --- evaluations

    def _evaluated(self, request: Request, snapshot: Snapshot, known: _Known) -> "Outcome | _MustWait":
        environment, identifier = snapshot.environment, request.params["target"]
        sent = self._sent_target(request, environment)
        if sent is not None:
            return self._evaluate(request, snapshot, sent, None)
        stored = self._look_up(environment, identifier, known)
        if stored is Unknown.UNKNOWN:
            return _MustWait(identifier)
        target = stored if stored is not None else Target(identifier)
        return self._evaluate(
            request, snapshot, target, partial(self._target_unchanged, environment, identifier, stored)
        )

    def _evaluate(
        self, request: Request, snapshot: Snapshot, target: Target, check: Callable[[], bool] | None
    ) -> Outcome:
        recurs = True
        body: EncodedBody | None
        if "flag" in request.params:
            body = self._evaluations.one(snapshot, request.params["flag"], target)
        else:
            body, recurs = self._evaluations.all(snapshot, target)
        response = _single(body, "evaluation", request.headers)
        # Cache from the second request on: most targets come once, the others often.
        if not recurs:
            return response
        if check is None:
            return self._cacheable(snapshot, response, bulk=False)
        return Cacheable(response, self._leases.of(snapshot.environment), check)

    def _target_unchanged(self, environment: EnvironmentId, identifier: str, stored: Target | None) -> bool:
        if not self._freshness.fresh(environment, bulk=False):
            return False
        return self._targets.peek(environment, identifier) is stored

    def _sent_target(self, request: Request, environment: EnvironmentId) -> Target | None:
        described = request.headers.get(b"harness-target")
        if described is None:
            return None
        target = read_target_header(described)
        if target is None:
            self._once.warning("a Harness-Target header cannot be read, it is ignored", environment)
            return None
        as_sent = request.raw_params["target"].decode("utf-8", "replace")
        return target if target.identifier in {request.params["target"], as_sent} else None

    def _look_up(
        self, environment: EnvironmentId, identifier: str, known: _Known
    ) -> Target | Literal[Unknown.UNKNOWN] | None:
        if identifier in known.targets:
            return known.targets[identifier]
        return self._targets.peek(environment, identifier)

    async def _stored(self, environment: EnvironmentId, identifier: str) -> Target | None:
        try:
            return await self._targets.get(environment, identifier)
        except StoreError as error:
            self._once.warning("targets cannot be looked up, identifiers serve alone", error=str(error))
            return None


def _single(body: EncodedBody | None, what: str, headers: Headers) -> Response:
    if body is None:
        # Do not echo what the client sent.
        raise RequestError(404, f"{what} not found")
    return encoded_response(body, form_of(body, headers))


def _asks_rules_v2(request: Request) -> bool:
    return request.parameter("rules") == "v2"
