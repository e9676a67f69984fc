"""OFREP: evaluations for OpenFeature clients in any language (spec/behaviour#ofrep)."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, final
from weakref import WeakKeyDictionary

import mmh3

from ff_proxy.api.access import bearer_token
from ff_proxy.api.encoded_response import CACHE, encoded_response, takes
from ff_proxy.api.evaluations import TargetBody
from ff_proxy.api.key_lookup import KeyLookup
from ff_proxy.api.ofrep_streams import StreamTickets
from ff_proxy.api.ofrep_usage import OfrepUsage, Served
from ff_proxy.api.ports import Freshness, Registrar
from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import RequestError
from ff_proxy.http.headers import Headers
from ff_proxy.http.negotiate import unchanged
from ff_proxy.http.request import Request
from ff_proxy.http.response import BAD_REQUEST, UNAUTHORIZED, Response, json_response, problem
from ff_proxy.model.environment import Revision
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.snapshots.encoded_body import EncodedBody
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.telemetry import Telemetry
from ff_proxy.wire import ofrep
from ff_proxy.wire.ofrep import Context, ErrorCode, OfrepError

LONGEST_BODY: Final = 1024 * 1024
"""Longest evaluation context in bytes."""

OFREP_HEADERS: Final = (
    b"authorization",
    b"x-api-key",
    b"accept-encoding",
    b"if-none-match",
    b"user-agent",
)
"""The header fields that responses depend on; the user agent only labels usage counts."""

_EXPOSED: Final = (b"Access-Control-Expose-Headers", b"Etag")
_VARY: Final = (b"Vary", b"Authorization, X-Api-Key, Accept-Encoding")
_FLAG: Final = "key"
"""The path parameter that names a flag; requests for all flags have none."""

_HINTS: Final = ("flagConfigEtag", "flagConfigLastModified")
_KEY_MISSING: Final = "targetingKey is missing, and this flag depends on the target"
_OVERHEAD: Final = 1024
_UNSIGNED: Final = -1
"""The period in the ETag of a response without a stream address."""

_CacheKey = tuple[EnvironmentId, SdkKeyHash, str, bytes]
"""What a bulk response depends on besides the data: the last two are the path prefix and the context."""

_CachedBulk = tuple[Revision, int, EncodedBody, tuple[Served, ...]]
"""The revision and ticket period of a bulk response, its body, and the variations in it."""


_Form = tuple[bytes, Served | None]
"""A flag's JSON, and the variation served unless it is a failure."""


@final
class _Forms:
    """Encoded results of one snapshot's flags; each flag has few distinct ones.

    Holds no reference to the snapshot, which is the weak key under which this is cached.
    """

    __slots__ = ("_environment", "_flags", "_made", "dependent")

    def __init__(self, snapshot: Snapshot) -> None:
        self._environment: Final = snapshot.info.identifier or snapshot.info.id
        self._flags: Final = snapshot.engine.flags
        self._made: dict[tuple[str, str, Reason], _Form] = {}
        self.dependent: Final = snapshot.engine.target_dependent

    def of(self, outcome: Evaluation | NoEvaluation) -> _Form:
        """The JSON of one evaluation, and the variation it serves."""
        if isinstance(outcome, NoEvaluation):
            detail = outcome.detail or outcome.reason.value
            return ofrep.failure(outcome.flag, ErrorCode.GENERAL, detail), None
        key = (outcome.flag, outcome.variation, outcome.reason)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(outcome)
        return made

    def _make(self, outcome: Evaluation) -> _Form:
        metadata: dict[str, bool | str | int] = {
            "environment": self._environment,
            "flagVersion": self._flags[outcome.flag].record.version,
        }
        written = ofrep.success(outcome, metadata)
        if written is None:
            detail = f"variation {outcome.variation!r} is not a valid {outcome.kind}"
            return ofrep.failure(outcome.flag, ErrorCode.PARSE_ERROR, detail), None
        return written, (outcome.flag, outcome.variation)


class OfrepEvaluations:
    """Answers single and bulk evaluation requests.

    Args:
        keys: finds the environment of a key.
        freshness: whether a snapshot is current enough to answer at once.
        registrar: registers targets with Harness.
        usage: counts evaluations.
        tickets: issues tickets for event streams.
        telemetry: counts evictions.
        budget: bytes of cached bulk responses.
    """

    def __init__(
        self,
        keys: KeyLookup,
        freshness: Freshness,
        registrar: Registrar,
        usage: OfrepUsage,
        tickets: StreamTickets,
        telemetry: Telemetry,
        *,
        budget: int = LEAST_SHARES.evaluations,
    ) -> None:
        self._keys = keys
        self._freshness = freshness
        self._registrar = registrar
        self._usage = usage
        self._tickets = tickets
        self._forms: WeakKeyDictionary[Snapshot, _Forms] = WeakKeyDictionary()
        self._cache: BoundedMap[_CacheKey, _CachedBulk] = BoundedMap(
            budget, lambda _, kept: 2 * len(kept[2].content) + _OVERHEAD, telemetry.dropped("OFREP lists")
        )

    def bulk(self, request: Request) -> Response | Awaitable[Response]:
        """Evaluate all flags for a context; 304 if the client's copy is current."""
        return self._answer(request, self._all)

    def single(self, request: Request) -> Response | Awaitable[Response]:
        """Evaluate one flag for a context."""
        return self._answer(request, self._one)

    def _answer(self, request: Request, make: "_Make") -> Response | Awaitable[Response]:
        key = _sdk_key(request.headers)
        content = request.body.whole
        snapshot = self._keys.loaded(key)
        if (
            content is None
            or snapshot is None
            or any(request.parameter(hint) for hint in _HINTS)
            or not self._freshness.fresh(snapshot.environment, bulk=False)
        ):
            return self._answer_later(request, key, make)
        return make(request, key, snapshot, ofrep.read_context(content, request.params.get(_FLAG)))

    async def _answer_later(self, request: Request, key: SdkKey, make: "_Make") -> Response:
        flag = request.params.get(_FLAG)
        try:
            content = await request.body.read()
        except RequestError as refusal:
            if refusal.status != BAD_REQUEST:
                raise
            raise OfrepError(ErrorCode.GENERAL, refusal.message, flag) from refusal
        snapshot = await self._keys.find(key, request.peer)
        # A hint comes from an event: never answer with anything older than the event.
        await self._freshness.refresh(snapshot.environment)
        snapshot = self._keys.loaded(key) or snapshot
        return make(request, key, snapshot, ofrep.read_context(content, flag))

    def _all(self, request: Request, key: SdkKey, snapshot: Snapshot, context: Context) -> Response:
        period = self._tickets.period()
        prefix = _prefix(request.path)
        name = (snapshot.environment, key.hash, prefix, _digest(context))
        kept = self._cache.get(name)
        if kept is not None and kept[:2] != (snapshot.revision, period):
            kept = None
        etag = _etag(snapshot, name, period) if kept is None else kept[2].etag
        if unchanged(request.headers.get(b"if-none-match"), etag):
            return Response(304, ((b"Etag", etag), CACHE, _VARY, _EXPOSED))
        if kept is None:
            address = self._tickets.address(snapshot.environment, key.hash)
            if not address:
                # Without a secret there is no address; a later response with one must have a different ETag.
                etag = _etag(snapshot, name, _UNSIGNED)
            content, given = self._list(snapshot, context, address and prefix + address)
            body: EncodedBody = TargetBody(content, etag)
            if address:
                self._cache.put(name, (snapshot.revision, period, body, given))
        else:
            body, given = kept[2:]
        self._usage.count(snapshot.environment, given, request.headers.get(b"user-agent"))
        self._register(snapshot, context)
        return encoded_response(body, (takes(body, request.headers), False), _VARY, _EXPOSED)

    def _list(self, snapshot: Snapshot, context: Context, address: str) -> tuple[bytes, tuple[Served, ...]]:
        forms = self._forms_of(snapshot)
        no_target = context.target is None
        made = [
            (ofrep.failure(outcome.flag, ErrorCode.TARGETING_KEY_MISSING, _KEY_MISSING), None)
            if no_target and outcome.flag in forms.dependent
            else forms.of(outcome)
            for outcome in snapshot.engine.evaluate_all(context.target)
        ]
        given = tuple(given for _, given in made if given is not None)
        return ofrep.bulk((flag for flag, _ in made), address), given

    def _one(self, request: Request, key: SdkKey, snapshot: Snapshot, context: Context) -> Response:
        del key
        flag = request.params[_FLAG]
        forms = self._forms_of(snapshot)
        outcome = snapshot.engine.evaluate(flag, context.target)
        if isinstance(outcome, NoEvaluation) and outcome.reason is Reason.UNKNOWN_FLAG:
            body = ofrep.failure(flag, ErrorCode.FLAG_NOT_FOUND, "the environment has no such flag")
            return json_response(404, body)
        if context.target is None and flag in forms.dependent:
            return json_response(400, ofrep.failure(flag, ErrorCode.TARGETING_KEY_MISSING, _KEY_MISSING))
        self._register(snapshot, context)
        body, given = forms.of(outcome)
        if given is None:
            return json_response(400, body)
        self._usage.count(snapshot.environment, (given,), request.headers.get(b"user-agent"))
        return json_response(200, body)

    def _register(self, snapshot: Snapshot, context: Context) -> None:
        if context.target is not None and not context.target.anonymous:
            self._registrar.register(snapshot.environment, context.target)

    def _forms_of(self, snapshot: Snapshot) -> _Forms:
        forms = self._forms.get(snapshot)
        if forms is None:
            forms = self._forms[snapshot] = _Forms(snapshot)
        return forms


_Make = Callable[[Request, SdkKey, Snapshot, Context], Response]


def ofrep_problem(refusal: RequestError, *fields: tuple[bytes, bytes]) -> Response:
    """The response for an error, in OFREP's format."""
    if isinstance(refusal, OfrepError):
        code, detail, flag = refusal.code, refusal.message, refusal.flag
        body = ofrep.refused(code, detail) if flag is None else ofrep.failure(flag, code, detail)
        return json_response(refusal.status, body, *fields)
    if refusal.status in {400, 413, 500}:
        return json_response(refusal.status, ofrep.refused(ErrorCode.GENERAL, refusal.message), *fields)
    return problem(refusal, *fields)


def _prefix(path: bytes) -> str:
    """The path before the route: a gateway may pass on nothing else, and clients keep only the host."""
    before = path[: path.rfind(b"/ofrep/")]
    return b"".join(b"/" + name for name in before.split(b"/") if name).decode("ascii")


def _sdk_key(headers: Headers) -> SdkKey:
    key = (headers.get(b"x-api-key") or b"").strip() or bearer_token(headers).strip()
    if not key:
        raise RequestError(UNAUTHORIZED, "the SDK key is missing: send it as a bearer token or in X-API-Key")
    return SdkKey(key.decode("utf-8", "replace"))


def _digest(context: Context) -> bytes:
    # Must be collision-resistant: otherwise a forged context could change what another user gets.
    return hashlib.blake2b(context.canonical, digest_size=16).digest()


def _etag(snapshot: Snapshot, name: _CacheKey, period: int) -> bytes:
    """An ETag over all inputs of the response, so that it can be compared before evaluating."""
    environment, key, prefix, context = name
    parts = (environment, key, prefix, ofrep.revision_text(snapshot.revision), str(period))
    return b'"%b"' % mmh3.hash_bytes("\0".join(parts).encode() + context).hex().encode()
