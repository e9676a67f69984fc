"""Fetching and normalising flags and segments: a bad item never affects a good one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from ff_proxy.aio.border import border
from ff_proxy.errors import UpstreamMalformed, UpstreamRefused
from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import Session
from ff_proxy.wire.normalise import Rejected, derives_legacy_rules, normalise_flag, normalise_segment

# Normalising a flag takes about 50 µs: yield to the event loop in between.
_BATCH: Final = 50
_NOT_FOUND: Final = 404

ReadStored = Callable[[], Awaitable[EnvironmentConfig | None]]


async def _gather(*questions: Awaitable[list[object]]) -> list[list[object]]:
    """Run all concurrently; returns every result, or raises the first error once all have ended.

    Not a task group: before Python 3.13 it loses a cancellation that arrives while it ends in an error, and
    an endless retry would never stop.
    """
    answers: list[list[object]] = []
    for answer in await asyncio.gather(*questions, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers


def _read_total(read: Callable[[object], Item | Rejected], doc: object) -> Item | Rejected:
    try:
        return read(doc)
    except RecursionError:
        return Rejected("", "nested too deeply")
    except Exception as error:  # noqa: BLE001  (one bad item must not affect the others)
        return Rejected("", f"cannot be read ({type(error).__name__}: {error})")


def _unreadable(error: Exception) -> UpstreamMalformed:
    return UpstreamMalformed(f"a response of Harness cannot be used: {type(error).__name__}: {error}")


class Fetcher:
    """Fetches flags and segments as items. Every method raises ``UpstreamError``."""

    def __init__(self, api: ClientApi, telemetry: Telemetry) -> None:
        self._api = api
        self._once = telemetry.once("upstream")
        self._rejected = telemetry.metrics.items_rejected

    async def fetch_all(self, session: Session, domain: Domain, stored: ReadStored) -> Mapping[str, Item]:
        """All items of one kind by identifier, or an error; never only some of them.

        An unreadable item keeps its form in ``stored``, which is called only if needed.
        """
        with border(_unreadable):
            return await self._fetch_all(session, domain, stored)

    async def item(self, session: Session, domain: Domain, identifier: str) -> Item | None:
        """One item; ``None`` if it is unreadable, ``UpstreamRefused`` with status 404 if there is none."""
        with border(_unreadable):
            return await self._item(session, domain, identifier)

    async def _fetch_all(self, session: Session, domain: Domain, stored: ReadStored) -> Mapping[str, Item]:
        environment = session.environment.id
        if domain is Domain.FLAG:
            flags = await self._api.flags(session)
            return await self._items(environment, domain, flags, normalise_flag, stored)
        segments, legacy = await _gather(
            self._api.segments(session, and_rules=True), self._api.segments(session, and_rules=False)
        )
        previous = {doc.get("identifier"): doc for doc in legacy if isinstance(doc, dict)}

        def segment(doc: object) -> Item | Rejected:
            identifier = doc.get("identifier") if isinstance(doc, dict) else None
            return self._segment(environment, doc, previous.get(identifier))

        return await self._items(environment, domain, segments, segment, stored)

    async def _item(self, session: Session, domain: Domain, identifier: str) -> Item | None:
        environment = session.environment.id
        if domain is Domain.FLAG:
            result = _read_total(normalise_flag, await self._api.flag(session, identifier))
        else:
            doc = await self._api.segment(session, identifier, and_rules=True)
            legacy = await self._legacy(session, identifier)
            result = _read_total(lambda doc: self._segment(environment, doc, legacy), doc)
        if isinstance(result, Rejected):
            self._reject(environment, domain, msgspec.structs.replace(result, identifier=identifier))
            return None
        if result.identifier != identifier:
            raise UpstreamMalformed(f"environment {environment}: another {domain.value} than requested")
        return result

    async def _legacy(self, session: Session, identifier: str) -> object:
        try:
            return await self._api.segment(session, identifier, and_rules=False)
        except UpstreamRefused as refused:
            if refused.status != _NOT_FOUND:
                raise
            # Deleted between the two requests: an event will follow.
            return None

    async def _items(
        self,
        environment: EnvironmentId,
        domain: Domain,
        docs: Sequence[object],
        read: Callable[[object], Item | Rejected],
        stored: ReadStored,
    ) -> Mapping[str, Item]:
        items: dict[str, Item] = {}
        unreadable: list[Rejected] = []
        for number, doc in enumerate(docs, 1):
            result = _read_total(read, doc)
            if isinstance(result, Rejected):
                unreadable.append(result)
            elif result.identifier not in items or items[result.identifier].version < result.version:
                items[result.identifier] = result
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        if unreadable:
            await self._keep_unreadable(environment, domain, items, unreadable, stored)
        return items

    async def _keep_unreadable(
        self,
        environment: EnvironmentId,
        domain: Domain,
        items: dict[str, Item],
        unreadable: Sequence[Rejected],
        stored: ReadStored,
    ) -> None:
        config = await stored()
        previous: Mapping[str, Item] = {}
        if config is not None:
            previous = config.flags if domain is Domain.FLAG else config.segments
        for rejected in unreadable:
            self._reject(environment, domain, rejected)
            # An unreadable item without a name may be any of the missing ones, so keep all of them.
            names = [rejected.identifier] if rejected.identifier else list(previous)
            for name in names:
                if name in previous:
                    items.setdefault(name, previous[name])

    def _segment(self, environment: EnvironmentId, doc: object, legacy: object) -> Item | Rejected:
        if derives_legacy_rules(doc, legacy):
            self._once.warning(
                "legacy segment rules made from servingRules",
                environment,
                why="Harness sent none; SDKs without rules=v2 see only the first clause of each rule",
            )
        return normalise_segment(doc, legacy)

    def _reject(self, environment: EnvironmentId, domain: Domain, rejected: Rejected) -> None:
        self._rejected.labels(environment).inc()
        self._once.warning(
            "unreadable item, keeping its last good form",
            f"{environment} {domain.value} {rejected.identifier}",
            problem=rejected.problem,
        )
