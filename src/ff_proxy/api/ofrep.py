"""OFREP: evaluations for OpenFeature clients in any language (spec/behaviour#ofrep)."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, final
from weakref import WeakKeyDictionary

import mmh3

from ff_proxy.api.access import bearer_token
from ff_proxy.api.encoded_response import CACHE, encoded_response, takes
from ff_proxy.api.key_lookup import KeyLookup
from ff_proxy.api.ofrep_streams import StreamTickets
from ff_proxy.api.ofrep_usage import Given, OfrepUsage
from ff_proxy.api.ports import Freshness, Registrar
from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import RequestError
from ff_proxy.http.headers import Headers
from ff_proxy.http.negotiate import unchanged
from ff_proxy.http.request import Request
from ff_proxy.http.response import UNAUTHORIZED, Response, json_response, problem
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
"""Bytes of a context."""

OFREP_HEADERS: Final = (
    b"authorization",
    b"x-api-key",
    b"accept-encoding",
    b"if-none-match",
    b"user-agent",
)
"""What answers depend on; the user agent only says whom evaluations are counted for."""

_EXPOSED: Final = (b"Access-Control-Expose-Headers", b"Etag")
_VARY: Final = (b"Vary", b"Authorization, X-Api-Key, Accept-Encoding")
_HINTS: Final = ("flagConfigEtag", "flagConfigLastModified")
_KEY_MISSING: Final = "targetingKey is missing, and this flag asks for the target"
_OVERHEAD: Final = 1024
_UNSIGNED: Final = -1
"""Stands for the period in the tag of a list without the address of a stream."""


_Name = tuple[EnvironmentId, SdkKeyHash, bytes]
_Kept = tuple[Revision, int, EncodedBody, tuple[Given, ...]]
"""What a list was made of, the list, and what it gives out."""


class _List(EncodedBody):
    """What one context gets; compressing it must not cost more than evaluating."""

    gzip_level = 3

    def __init__(self, content: bytes, etag: bytes) -> None:
        super().__init__(content)
        self.etag = etag


_Form = tuple[bytes, Given | None]
"""A flag's JSON, and what it gives out, if it is no failure."""


@final
class _Forms:
    """Ready answers of one snapshot's flags: a flag yields few, however many ask.

    The snapshot itself is not kept: these are remembered for as long as it lives.
    """

    __slots__ = ("_environment", "_flags", "_made", "dependent")

    def __init__(self, snapshot: Snapshot) -> None:
        self._environment: Final = snapshot.info.identifier or snapshot.info.id
        self._flags: Final = snapshot.engine.flags
        self._made: dict[tuple[str, str, Reason], _Form] = {}
        self.dependent: Final = snapshot.engine.target_dependent

    def of(self, outcome: Evaluation | NoEvaluation) -> _Form:
        """A flag's JSON, and what it gives out."""
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
            detail = f"variation {outcome.variation!r} is no {outcome.kind}"
            return ofrep.failure(outcome.flag, ErrorCode.PARSE_ERROR, detail), None
        return written, (outcome.flag, outcome.variation)


class OfrepEvaluations:
    """Both evaluation requests.

    Args:
        keys: find environments.
        freshness: whether the snapshots may be answered from at once.
        registrar: tells Harness of targets.
        usage: counts evaluations.
        tickets: for event streams.
        telemetry: counts what is forgotten for room.
        budget: bytes of remembered lists.
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
        self._kept: BoundedMap[_Name, _Kept] = BoundedMap(
            budget, lambda _, kept: 2 * len(kept[2].content) + _OVERHEAD, telemetry.dropped("OFREP lists")
        )

    def bulk(self, request: Request) -> Response | Awaitable[Response]:
        """Every flag for a context; 304 if the caller has just that."""
        return self._answer(request, self._all)

    def single(self, request: Request) -> Response | Awaitable[Response]:
        """One flag for a context."""
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
        return make(request, key, snapshot, ofrep.read_context(content))

    async def _answer_later(self, request: Request, key: SdkKey, make: "_Make") -> Response:
        content = await request.body.read()
        snapshot = await self._keys.find(key, request.peer)
        # A hint says what was announced: nothing older may be answered.
        await self._freshness.refresh(snapshot.environment)
        snapshot = self._keys.loaded(key) or snapshot
        return make(request, key, snapshot, ofrep.read_context(content))

    def _all(self, request: Request, key: SdkKey, snapshot: Snapshot, context: Context) -> Response:
        period = self._tickets.period()
        name = (snapshot.environment, key.hash, _digest(context))
        kept = self._kept.get(name)
        if kept is not None and kept[:2] != (snapshot.revision, period):
            kept = None
        etag = _etag(snapshot, name, period) if kept is None else kept[2].etag
        if unchanged(request.headers.get(b"if-none-match"), etag):
            return Response(304, ((b"Etag", etag), CACHE, _VARY, _EXPOSED))
        if kept is None:
            address = self._tickets.address(snapshot.environment, key.hash)
            if not address:
                # Nothing can be signed yet. Once it can, a list with an address must not pass for this one.
                etag = _etag(snapshot, name, _UNSIGNED)
            content, given = self._list(snapshot, context, address)
            body: EncodedBody = _List(content, etag)
            if address:
                self._kept.put(name, (snapshot.revision, period, body, given))
        else:
            body, given = kept[2:]
        self._usage.count(snapshot.environment, given, request.headers.get(b"user-agent"))
        self._register(snapshot, context)
        return encoded_response(body, (takes(body, request.headers), False), _VARY, _EXPOSED)

    def _list(self, snapshot: Snapshot, context: Context, address: str) -> tuple[bytes, tuple[Given, ...]]:
        forms = self._forms_of(snapshot)
        nobody = context.target is None
        made = [
            (ofrep.failure(outcome.flag, ErrorCode.TARGETING_KEY_MISSING, _KEY_MISSING), None)
            if nobody and outcome.flag in forms.dependent
            else forms.of(outcome)
            for outcome in snapshot.engine.evaluate_all(context.target)
        ]
        given = tuple(given for _, given in made if given is not None)
        return ofrep.bulk((flag for flag, _ in made), address), given

    def _one(self, request: Request, key: SdkKey, snapshot: Snapshot, context: Context) -> Response:
        del key
        flag = request.params["key"]
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
    """What a caller is told of a refusal, in the protocol's form."""
    if isinstance(refusal, OfrepError):
        return json_response(refusal.status, ofrep.refused(refusal.code, refusal.message), *fields)
    if refusal.status in {400, 413, 500}:
        return json_response(refusal.status, ofrep.refused(ErrorCode.GENERAL, refusal.message), *fields)
    return problem(refusal, *fields)


def _sdk_key(headers: Headers) -> SdkKey:
    key = (headers.get(b"x-api-key") or b"").strip() or bearer_token(headers).strip()
    if not key:
        raise RequestError(UNAUTHORIZED, "an SDK key is missing: send it as bearer token or in X-API-Key")
    return SdkKey(key.decode("utf-8", "replace"))


def _digest(context: Context) -> bytes:
    # Keys are public in browsers: nobody may make up a context whose list somebody else gets.
    return hashlib.blake2b(context.canonical, digest_size=16).digest()


def _etag(snapshot: Snapshot, name: _Name, period: int) -> bytes:
    """Of everything that the answer depends on, so that it can be compared before anything is evaluated."""
    environment, key, context = name
    parts = (environment, key, ofrep.revision_text(snapshot.revision), str(period))
    return b'"%b"' % mmh3.hash_bytes("\0".join(parts).encode() + context).hex().encode()
