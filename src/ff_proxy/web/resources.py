"""Flags, segments and evaluations: from a request's head to its reply, without waiting for anything.

Both ways of serving ask here, so that they answer alike: the edge takes what can be answered at once,
``in_time`` waits for what cannot.
"""

from collections.abc import Callable
from typing import Final, Literal, final
from urllib.parse import parse_qsl
from weakref import WeakKeyDictionary

from ff_proxy.errors import StoreError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.snapshots.encoded_body import EncodedBody
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.store.protocol import Targets, Unknown
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.access import Access, Outdated
from ff_proxy.web.evaluations import Evaluations
from ff_proxy.web.needs import AlwaysFresh, Freshness
from ff_proxy.web.negotiate import takes_gzip, unchanged
from ff_proxy.web.paths import Place, Resource
from ff_proxy.web.problems import not_found
from ff_proxy.web.reply import JSON, Reply
from ff_proxy.web.request import RequestHead
from ff_proxy.wire.sdk import read_target_header

READABLE: Final = frozenset(
    {
        Resource.FLAGS,
        Resource.FLAG,
        Resource.SEGMENTS,
        Resource.SEGMENT,
        Resource.EVALUATIONS,
        Resource.EVALUATION,
    }
)
"""What this module answers."""

_TARGETED: Final = frozenset({Resource.EVALUATIONS, Resource.EVALUATION})
_BULK: Final = frozenset({Resource.FLAGS, Resource.SEGMENTS})
_CACHE: Final = (b"cache-control", b"private, no-cache")
_VARY: Final = (b"vary", b"Authorization, Accept-Encoding")
_VARY_TARGET: Final = (b"vary", b"Authorization, Accept-Encoding, Harness-Target")
_GZIP: Final = (b"content-encoding", b"gzip")


class Answer:
    """A reply, and what it was made of besides the snapshot of the moment.

    ``stored`` is what the target store held under ``place.target``; it counts if ``looked_up``. ``recurs``
    says whether it is likely to be asked for again: most targets come once, those that come twice come often.
    """

    __slots__ = ("looked_up", "place", "recurs", "reply", "stored")

    def __init__(
        self, place: Place, reply: Reply, stored: Target | None, *, looked_up: bool, recurs: bool = True
    ) -> None:
        self.place: Final = place
        self.reply: Final = reply
        self.stored: Final = stored
        self.looked_up: Final = looked_up
        self.recurs: Final = recurs


@final
class NotNow:
    """No answer without waiting: for the store's revision, or for the target named ``target``."""

    __slots__ = ("target",)

    def __init__(self, target: str | None = None) -> None:
        self.target: Final = target


class Known:
    """What waiting has found out: that the snapshot is current, and what targets the store holds."""

    __slots__ = ("current", "targets")

    def __init__(self) -> None:
        self.current = False
        self.targets: dict[str, Target | None] = {}


_NOTHING: Final = Known()


class _Forms:
    """The replies that a body can become; each is made once, for those who will ask again."""

    __slots__ = ("_body", "_made", "_vary")

    def __init__(self, body: EncodedBody, vary: tuple[bytes, bytes]) -> None:
        self._body: Final = body
        self._vary: Final = vary
        self._made: dict[tuple[bool, bool], Reply] = {}

    def reply(self, head: RequestHead) -> Reply:
        form = _form(self._body, head)
        made = self._made.get(form)
        if made is None:
            made = self._made[form] = _make(self._body, self._vary, *form)
        return made


def _form(body: EncodedBody, head: RequestHead) -> tuple[bool, bool]:
    zipped = takes_gzip(head.fields.get(b"accept-encoding")) and body.gzip is not None
    return zipped, unchanged(head.fields.get(b"if-none-match"), body.etag)


def _make(body: EncodedBody, vary: tuple[bytes, bytes], zipped: bool, same: bool) -> Reply:
    # Compressed, the same content has other bytes: only a weak tag may be shared (RFC 9110 §8.8.3.3).
    tag = (b"etag", b"W/" + body.etag if zipped else body.etag)
    if same:
        return Reply(304, (tag, _CACHE, vary))
    content = body.gzip if zipped and body.gzip is not None else body.content
    length = (b"content-length", b"%d" % len(content))
    if zipped:
        return Reply(200, (JSON, length, _GZIP, tag, _CACHE, vary), content)
    return Reply(200, (JSON, length, tag, _CACHE, vary), content)


class Resources:
    """Answers reads.

    Args:
        access: who may read what.
        targets: as SDKs described them at auth.
        freshness: whether the snapshots may be answered from at once.
        evaluations: evaluates.
        telemetry: told of ``Harness-Target`` headers that cannot be read.
    """

    def __init__(
        self,
        access: Access,
        targets: Targets,
        freshness: Freshness,
        evaluations: Evaluations,
        telemetry: Telemetry,
    ) -> None:
        self._access = access
        self._targets = targets
        self._freshness = freshness
        self._always_fresh = isinstance(freshness, AlwaysFresh)
        self._evaluations = evaluations
        self._once = telemetry.once("web")
        self._shelves: WeakKeyDictionary[Snapshot, dict[tuple[Resource, bool], _Forms]] = WeakKeyDictionary()

    def answer(self, place: Place, head: RequestHead, known: Known = _NOTHING) -> Answer | NotNow:
        """The answer to a GET of ``place`` (one of ``READABLE``); raises ``RequestError``."""
        bulk = place.resource in _BULK
        try:
            snapshot = self._access.read(head.fields, place.environment)
        except Outdated:
            if not known.current:
                return NotNow()
            raise
        if not known.current and not self._freshness.fresh(place.environment, bulk=bulk):
            return NotNow()
        if place.resource in _TARGETED:
            return self._evaluated(place, head, snapshot, known)
        reply = self._configured(place, head, snapshot)
        return Answer(place, reply, None, looked_up=False)

    async def in_time(self, place: Place, head: RequestHead) -> Answer:
        """The same, waiting for what ``answer`` cannot know; raises ``RequestError``."""
        known = Known()
        while isinstance(outcome := self.answer(place, head, known), NotNow):
            if outcome.target is None:
                await self._freshness.refresh(place.environment)
                known.current = True
            else:
                known.targets[outcome.target] = await self._stored(place.environment, outcome.target)
        return outcome

    def check_for(self, answer: Answer) -> Callable[[Answer], bool] | None:
        """What tells whether ``answer`` is still the one to give while its snapshot is current.

        ``None`` if nothing else could change it.
        """
        if answer.looked_up:
            return self._holds
        place = answer.place
        bulk = place.resource in _BULK
        return None if self._always_fresh else self._freshness.checker(place.environment, bulk=bulk)

    def _holds(self, answer: Answer) -> bool:
        place = answer.place
        if not self._freshness.fresh(place.environment, bulk=False):
            return False
        return self._targets.peek(place.environment, place.target) is answer.stored

    def _configured(self, place: Place, head: RequestHead, snapshot: Snapshot) -> Reply:
        if place.resource is Resource.FLAG:
            return _single(snapshot.flag(place.item), "flag", _VARY, head)
        rules_v2 = place.resource is not Resource.FLAGS and _asks_rules_v2(head.query)
        if place.resource is Resource.SEGMENT:
            segment = snapshot.segment(place.item, rules_v2=rules_v2)
            return _single(segment, "segment", _VARY, head)
        return self._bulk_forms(snapshot, place.resource, rules_v2=rules_v2).reply(head)

    def _bulk_forms(self, snapshot: Snapshot, resource: Resource, *, rules_v2: bool) -> "_Forms":
        shelf = self._shelves.get(snapshot)
        if shelf is None:
            shelf = self._shelves[snapshot] = {}
        forms = shelf.get((resource, rules_v2))
        if forms is None:
            body = snapshot.flags if resource is Resource.FLAGS else snapshot.segments(rules_v2=rules_v2)
            forms = shelf[resource, rules_v2] = _Forms(body, _VARY)
        return forms

    def _evaluated(
        self, place: Place, head: RequestHead, snapshot: Snapshot, known: Known
    ) -> Answer | NotNow:
        target = self._sent_target(place, head)
        stored: Target | None = None
        looked_up = target is None
        if target is None:
            held = self._look_up(place.environment, place.target, known)
            if held is Unknown.UNKNOWN:
                return NotNow(place.target)
            stored = held
            target = held if held is not None else Target(place.target)
        recurs = True
        if place.resource is Resource.EVALUATIONS:
            body: EncodedBody | None
            body, recurs = self._evaluations.all(snapshot, target)
        else:
            body = self._evaluations.one(snapshot, place.item, target)
        reply = _single(body, "evaluation", _VARY_TARGET, head)
        return Answer(place, reply, stored, looked_up=looked_up, recurs=recurs)

    def _sent_target(self, place: Place, head: RequestHead) -> Target | None:
        described = head.fields.get(b"harness-target")
        if described is None:
            return None
        target = read_target_header(described)
        if target is None:
            self._once.warning("a Harness-Target header cannot be read, it is ignored", place.environment)
            return None
        return target if target.identifier in {place.target, place.target_sent} else None

    def _look_up(
        self, environment: EnvironmentId, identifier: str, known: Known
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


def _single(body: EncodedBody | None, what: str, vary: tuple[bytes, bytes], head: RequestHead) -> Reply:
    if body is None:
        raise not_found(what)
    return _make(body, vary, *_form(body, head))


def _asks_rules_v2(query: bytes) -> bool:
    if b"rules" not in query:
        return False
    asked = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == b"rules"]
    return asked[:1] == [b"v2"]
