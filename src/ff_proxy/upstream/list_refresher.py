"""Fetching all flags, or all segments, of one environment, as often as it is asked for and until it works."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import FfProxyError, StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import jittered
from ff_proxy.model.environment import Change, Domain
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.contact import Contact, Question
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.failure_text import advice
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.intervals import Schedule
from ff_proxy.upstream.writer import CONFIRM_SECONDS, EnvironmentWriter, ListOutcome

_QUESTIONS: Final = {Domain.FLAG: Question.FLAGS, Domain.SEGMENT: Question.SEGMENTS}
_WORDS: Final = {Domain.FLAG: "flags", Domain.SEGMENT: "target groups"}

Report = Callable[[], Awaitable[None]]


class ListRefresher:
    """One kind of item, as a whole.

    Args:
        domain: which kind.
        credentials: whose token is used, and renewed when SaaS refuses it.
        fetcher: asks SaaS.
        writer: writes the store.
        contact: learns whether SaaS answers.
        limiter: bounds how many lists of all environments are fetched at the same time.
        refused: seconds between tries once SaaS refuses every key.
        report: is called after each fetch.
        behind: is given items that a list has in an older version than was announced.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        credentials: Credentials,
        fetcher: Fetcher,
        writer: EnvironmentWriter,
        contact: Contact,
        limiter: PatientLimiter,
        telemetry: Telemetry,
        rhythm: Schedule,
        refused: float,
        report: Report,
        behind: Callable[[Change], None],
    ) -> None:
        self._domain: Final = domain
        self._credentials = credentials
        self._fetcher = fetcher
        self._writer = writer
        self._contact = contact
        self._limiter = limiter
        self._log = telemetry.logger("upstream")
        self._telemetry = telemetry
        self._rhythm = rhythm
        self._refused = refused
        self._report = report
        self._behind = behind
        self._backoff = rhythm.backoff()
        self._wanted = asyncio.Event()
        self._unconfirmed: tuple[str, ...] = ()
        self.trouble: FfProxyError | None = None

    @property
    def doubt(self) -> str:
        """What the last list lacked and is still served, for people; empty if nothing."""
        if not self._unconfirmed:
            return ""
        count, words = len(self._unconfirmed), _WORDS[self._domain]
        return f"{count} {words} missing from Harness's list stay until a second list lacks them too"

    def refresh(self) -> None:
        """Fetch as soon as possible."""
        self._wanted.set()

    async def run(self) -> None:
        """Work for ever."""
        pause: float | None = None
        while True:
            if pause is None:
                await self._wanted.wait()
            else:
                await sleep_unless(self._wanted, self._rhythm.clock, pause)
            self._wanted.clear()
            pause = await self._fetch()

    async def _fetch(self) -> float | None:
        """Fetch once; the seconds until the next try, ``None`` if there is no need for one."""
        question = _QUESTIONS[self._domain]
        try:
            async with self._limiter.place():
                self._contact.asked(question)
                ticket = self._writer.ticket()
                items = await self._credentials.call(
                    lambda session: self._fetcher.everything(session, self._domain, self._writer.held)
                )
            self._contact.answered(question)
            outcome = await self._writer.put_list(self._credentials.environment, self._domain, items, ticket)
        except (UpstreamError, StoreUnavailable) as error:
            return await self._failed(error)
        except Exception:
            # Whoever runs this begins again, and then with what was not done.
            self._wanted.set()
            raise
        return await self._done(outcome)

    async def _failed(self, error: UpstreamError | StoreUnavailable) -> float:
        self.trouble = error
        await self._report()
        doing, environment = _WORDS[self._domain], self._credentials.environment.id
        if not isinstance(error, UpstreamRefused):
            self._telemetry.trouble(error, doing, environment)
        else:
            self._telemetry.harness.failed(error, doing, environment, advice=advice(error, "sdk-base-url"))
            # SaaS answers, though not as wished: another member would hear the same.
            self._contact.answered(_QUESTIONS[self._domain])
            return jittered(self._rhythm.random, self._refused)
        return self._backoff.next(error)

    async def _done(self, outcome: ListOutcome) -> float | None:
        self.trouble = None
        self._unconfirmed = outcome.unconfirmed
        await self._report()
        self._backoff.reset()
        self._telemetry.recovered(_WORDS[self._domain], self._credentials.environment.id)
        for change in outcome.behind:
            self._behind(change)
        if not outcome.unconfirmed:
            return None
        self._log.warning(
            "items missing from SaaS's list, asking once more",
            environment=self._credentials.environment.id,
            kind=_WORDS[self._domain],
            count=len(outcome.unconfirmed),
        )
        return CONFIRM_SECONDS
