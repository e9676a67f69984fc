"""Fetching flags and segments and making them readable: a bad one never costs a good one."""

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

# Normalising a flag takes some 50 µs: the loop serves SDKs in between.
_BATCH: Final = 50
_NOT_FOUND: Final = 404

HeldEnvironment = Callable[[], Awaitable[EnvironmentConfig | None]]


async def _all(*questions: Awaitable[list[object]]) -> list[list[object]]:
    """Every answer, asked for at the same time, or the first error once all have ended.

    No task group: before Python 3.13 it loses a cancellation that comes while it ends in an error, and
    whoever retries for ever then never stops.
    """
    answers: list[list[object]] = []
    for answer in await asyncio.gather(*questions, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers


def _total(read: Callable[[object], Item | Rejected], doc: object) -> Item | Rejected:
    try:
        return read(doc)
    except RecursionError:
        return Rejected("", "nested too deeply")
    except Exception as error:  # noqa: BLE001  (one bad item must not keep its neighbours back)
        return Rejected("", f"cannot be read ({type(error).__name__}: {error})")


def _unreadable(error: Exception) -> UpstreamMalformed:
    return UpstreamMalformed(f"an answer of SaaS cannot be used: {type(error).__name__}: {error}")


class Fetcher:
    """Flags and segments of SaaS as items. Every method raises ``UpstreamError``."""

    def __init__(self, api: ClientApi, telemetry: Telemetry) -> None:
        self._api = api
        self._once = telemetry.once("upstream")
        self._rejected = telemetry.metrics.items_rejected

    async def everything(self, session: Session, domain: Domain, held: HeldEnvironment) -> Mapping[str, Item]:
        """All items of one kind by identifier, or an error: half of them is no answer.

        An item that cannot be read keeps the form that ``held`` has of it, which is asked only then.
        """
        with border(_unreadable):
            return await self._everything(session, domain, held)

    async def item(self, session: Session, domain: Domain, identifier: str) -> Item | None:
        """One item; ``None`` if it cannot be read, ``UpstreamRefused`` with status 404 if it is gone."""
        with border(_unreadable):
            return await self._item(session, domain, identifier)

    async def _everything(
        self, session: Session, domain: Domain, held: HeldEnvironment
    ) -> Mapping[str, Item]:
        environment = session.environment.id
        if domain is Domain.FLAG:
            flags = await self._api.flags(session)
            return await self._items(environment, domain, flags, normalise_flag, held)
        segments, legacy = await _all(
            self._api.segments(session, and_rules=True), self._api.segments(session, and_rules=False)
        )
        old = {doc.get("identifier"): doc for doc in legacy if isinstance(doc, dict)}

        def segment(doc: object) -> Item | Rejected:
            identifier = doc.get("identifier") if isinstance(doc, dict) else None
            return self._segment(environment, doc, old.get(identifier))

        return await self._items(environment, domain, segments, segment, held)

    async def _item(self, session: Session, domain: Domain, identifier: str) -> Item | None:
        environment = session.environment.id
        if domain is Domain.FLAG:
            made = _total(normalise_flag, await self._api.flag(session, identifier))
        else:
            doc = await self._api.segment(session, identifier, and_rules=True)
            legacy = await self._legacy(session, identifier)
            made = _total(lambda doc: self._segment(environment, doc, legacy), doc)
        if isinstance(made, Rejected):
            self._reject(environment, domain, msgspec.structs.replace(made, identifier=identifier))
            return None
        if made.identifier != identifier:
            raise UpstreamMalformed(f"environment {environment}: another {domain.value} than asked for")
        return made

    async def _legacy(self, session: Session, identifier: str) -> object:
        try:
            return await self._api.segment(session, identifier, and_rules=False)
        except UpstreamRefused as refused:
            if refused.status != _NOT_FOUND:
                raise
            # Gone between the two questions: an event will say so.
            return None

    async def _items(
        self,
        environment: EnvironmentId,
        domain: Domain,
        docs: Sequence[object],
        read: Callable[[object], Item | Rejected],
        held: HeldEnvironment,
    ) -> Mapping[str, Item]:
        items: dict[str, Item] = {}
        unreadable: list[Rejected] = []
        for number, doc in enumerate(docs, 1):
            made = _total(read, doc)
            if isinstance(made, Rejected):
                unreadable.append(made)
            elif made.identifier not in items or items[made.identifier].version < made.version:
                items[made.identifier] = made
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        if unreadable:
            await self._keep(environment, domain, items, unreadable, held)
        return items

    async def _keep(
        self,
        environment: EnvironmentId,
        domain: Domain,
        items: dict[str, Item],
        unreadable: Sequence[Rejected],
        held: HeldEnvironment,
    ) -> None:
        config = await held()
        last: Mapping[str, Item] = {}
        if config is not None:
            last = config.flags if domain is Domain.FLAG else config.segments
        for rejected in unreadable:
            self._reject(environment, domain, rejected)
            # One without a name may be any of those that seem to be gone: none of them goes.
            names = [rejected.identifier] if rejected.identifier else list(last)
            for name in names:
                if name in last:
                    items.setdefault(name, last[name])

    def _segment(self, environment: EnvironmentId, doc: object, legacy: object) -> Item | Rejected:
        if derives_legacy_rules(doc, legacy):
            self._once.warning(
                "legacy segment rules made from servingRules",
                environment,
                why="SaaS gave none; SDKs without rules=v2 see the first clause of each rule only",
            )
        return normalise_segment(doc, legacy)

    def _reject(self, environment: EnvironmentId, domain: Domain, rejected: Rejected) -> None:
        self._rejected.labels(environment).inc()
        self._once.warning(
            "unreadable item: its last good form stays",
            f"{environment} {domain.value} {rejected.identifier}",
            problem=rejected.problem,
        )
