"""Checks of Harness: the connection to each address, every key, the admin listing, flags, the stream."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import httpx2

from ff_proxy.commands.doctor.findings import Check, Reporter
from ff_proxy.errors import UpstreamError, UpstreamMalformed, UpstreamRefused
from ff_proxy.model.keys import SdkKey
from ff_proxy.tls.certificates import RENEWAL_SECONDS
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import Session
from ff_proxy.upstream.failure_text import causes
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.inspection import Inspection, inspect
from ff_proxy.upstream.outbound_proxy import OutboundProxies
from ff_proxy.upstream.sse import SseDecoder
from ff_proxy.upstream.transport import Request, origin

FIRST_BYTE_SECONDS: Final = 20.0
_ASK_SECONDS: Final = 12.0
_SKEW_WARNED: Final = 30.0
_SKEW_REFUSED: Final = 300.0
_BURST: Final = 3
_UNAUTHORISED: Final = 401

_POLLING: Final = "set flag-stream-enabled=false to poll instead"
_MIDDLEBOX: Final = (
    f"a firewall, proxy or TLS inspection between holds streams back: exempt the host there, or {_POLLING}"
)


def network_checks(
    urls: Sequence[tuple[str, str]],
    transport: HttpTransport,
    proxies: OutboundProxies,
    wall: Callable[[], float] = time.time,
) -> list[Check]:
    """A check for each server that the options (name, URL) name, and one of the clock."""
    servers: dict[str, list[str]] = {}
    for name, url in urls:
        servers.setdefault(origin(url), []).append(name)
    addresses = {origin(url): url for _, url in reversed(urls)}

    reached = [
        Check(f"{', '.join(names)} {server}", partial(_reach, addresses[server], transport, proxies, wall))
        for server, names in servers.items()
    ]
    return [*reached, Check("clock", partial(_clock, urls[0][1], transport, wall))]


async def _reach(
    url: str,
    transport: HttpTransport,
    proxies: OutboundProxies,
    wall: Callable[[], float],
    report: Reporter,
) -> None:
    proxy = origin(proxies.proxy_of(url)) if proxies.proxy_of(url) else ""
    try:
        seen = await inspect(transport, _request(url))
    except UpstreamMalformed:
        report.ok("it answers")  # more than a page: of interest here is the way only
        return
    except UpstreamError as error:
        report.problem(*_unreachable(error, url, proxy))
        return
    text = _way(seen, proxy)
    if seen.certificate is not None and seen.certificate.ends - wall() < RENEWAL_SECONDS:
        report.warning(text, "its certificate expires soon: the operator of that server must renew it")
    else:
        report.ok(text)


def _way(seen: Inspection, proxy: str) -> str:
    words = [f"connected to {seen.address} in {seen.connect * 1000:.0f} ms"]
    if proxy:
        words[0] += f" through the outbound proxy {proxy}"
    if seen.tls:
        words.append(seen.tls)
    if seen.certificate is not None:
        end = datetime.fromtimestamp(seen.certificate.ends, UTC).date()
        words.append(f"certificate for {seen.certificate.subject} from {seen.certificate.issuer} until {end}")
    words.append(f"answered in {seen.total * 1000:.0f} ms")
    return ", ".join(words)


def _unreachable(error: UpstreamError, url: str, proxy: str) -> tuple[str, str]:
    """What failed, and advice unless the error contains it."""
    host = urlsplit(proxy or url).hostname
    behind = [*causes(error.__cause__)]
    if any(isinstance(one, socket.gaierror) for one in behind):
        who = "the outbound proxy" if proxy else "the option"
        return str(error), (
            f"check the name in {who} and the DNS of this machine (getent hosts {host})"
            + ("" if proxy else "; if only an outbound proxy knows it, set HTTPS_PROXY")
        )
    if any(isinstance(one, ConnectionRefusedError) for one in behind):
        return str(error), f"nothing listens at {proxy or origin(url)}: check address and port"
    if any(isinstance(one, TimeoutError | httpx2.TimeoutException) for one in behind):
        return str(error), f"let a firewall pass {proxy or origin(url)}, or set HTTPS_PROXY"
    return str(error), ""


async def _clock(url: str, transport: HttpTransport, wall: Callable[[], float], report: Reporter) -> None:
    try:
        reply = await transport.send(_request(url))
    except UpstreamError:
        report.skipped(f"{origin(url)} did not answer")
        return
    try:
        theirs = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        report.skipped(f"{origin(url)} does not say what time it is")
        return
    skew = wall() - theirs
    relation = "ahead of" if skew > 0 else "behind"
    text = f"this machine's clock is {abs(skew):.0f} s {relation} that of {origin(url)}"
    advice = "synchronise it (chrony, systemd-timesyncd, or the host's if this is a container)"
    if abs(skew) > _SKEW_REFUSED:
        report.problem(f"{text}: certificates and tokens may count as not valid", advice)
    elif abs(skew) > _SKEW_WARNED:
        report.warning(text, advice)
    else:
        report.ok(f"within {max(abs(skew), 1):.0f} s of {origin(url)}")


def _request(url: str) -> Request:
    return Request("GET", url, urlsplit(url).path, deadline=_ASK_SECONDS)


@dataclass(frozen=True, slots=True)
class Identity:
    """The configured keys and account; ``account`` is empty if it is not set."""

    keys: Sequence[SdkKey]
    account: str


class AccountChecks:
    """Checks how Harness answers our keys and the admin token.

    Args:
        identity: the configured keys and account.
        api: the client API.
        admin: the admin API, ``None`` if its token, the account or the organisation is missing.
        stream: whether streaming is enabled.
        listen: seconds to read a stream after its first byte.
    """

    def __init__(
        self, identity: Identity, api: ClientApi, admin: AdminApi | None, *, stream: bool, listen: float
    ) -> None:
        self._identity = identity
        self._api = api
        self._admin = admin
        self._stream = stream
        self._listen = listen
        self._entered = asyncio.Event()
        self._sessions: dict[str, Session] = {}

    def checks(self) -> list[Check]:
        """The checks, in the order of the report."""
        bound = _ASK_SECONDS * 3
        return [
            Check("key", self._keys, bound),
            Check("admin listing", self._listings, bound),
            Check("flags", self._flags, bound),
            Check("stream", self._streams, bound + FIRST_BYTE_SECONDS + self._listen),
        ]

    async def _keys(self, report: Reporter) -> None:
        keys = self._identity.keys
        try:
            if not keys:
                report.skipped("api-keys is not set")
            await report.each(
                [
                    (f"{number} of {len(keys)} (#{key.hash[:6]})", partial(self._key, key))
                    for number, key in enumerate(keys, 1)
                ]
            )
        finally:
            self._entered.set()

    async def _key(self, key: SdkKey, report: Reporter) -> None:
        try:
            session = await self._api.authenticate(key, deadline=_ASK_SECONDS)
        except UpstreamRefused as error:
            advice = "copy the environment's server SDK key again, or create one there: keys are shown once"
            report.problem(f"Harness refuses it ({error})", advice)
            return
        except UpstreamMalformed as error:
            report.problem(str(error), "is client-service the address of Harness, with its path?")
            return
        except UpstreamError as error:
            report.problem(str(error), "see the line of client-service above; if that is ok, ask again later")
            return
        info = session.environment
        self._sessions.setdefault(info.id, session)
        account = self._identity.account
        if account and info.account and info.account != account:
            report.problem(
                f"it is a key of account {info.account}, and account-identifier is {account}",
                f"set account-identifier to {info.account}, or use keys of the other account",
            )
        else:
            report.ok(f"accepted, for {_name(session)} of project {info.project_identifier or 'unknown'}")

    async def _listings(self, report: Reporter) -> None:
        if self._admin is None:
            report.skipped("admin-service-token, account-identifier or org-identifier is not set")
            return
        await self._each(report, partial(self._listing, self._admin))

    async def _listing(self, admin: AdminApi, session: Session, report: Reporter) -> None:
        try:
            listed = await admin.keys(session.environment)
        except UpstreamRefused as error:
            if error.status == _UNAUTHORISED:
                advice = "admin-service-token is not valid, or has expired: create a service account token"
            else:
                advice = (
                    "check account-identifier and org-identifier, and let the token's service account view "
                    "feature flags and environments of the project"
                )
            report.problem(f"Harness refuses it ({error})", advice)
            return
        except UpstreamMalformed as error:
            report.problem(str(error), "is admin-service the address of Harness, with its path /gateway/cf?")
            return
        if not listed.complete:
            report.warning(
                f"{len(listed.entries)} keys, and some are missing: the list changed while it was read",
                "ask again",
            )
        elif session.key.hash not in listed.entries:
            report.warning(
                f"{len(listed.entries)} keys, and the configured key #{session.key.hash[:6]} is not there",
                "is org-identifier that of the key's project? SDKs with other keys may be refused",
            )
        else:
            report.ok(f"{len(listed.entries)} SDK keys")

    async def _flags(self, report: Reporter) -> None:
        await self._each(report, self._flags_of)

    async def _flags_of(self, session: Session, report: Reporter) -> None:
        flags = await self._api.flags(session)
        groups = await self._api.segments(session, and_rules=True)
        report.ok(f"{len(flags)} flags, {len(groups)} target groups")

    async def _streams(self, report: Reporter) -> None:
        if not self._stream:
            report.skipped("flag-stream-enabled is false: Harness is polled")
            return
        await self._each(report, self._stream_of)

    async def _stream_of(self, session: Session, report: Reporter) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        arrivals: list[tuple[float, int]] = []
        opened = ended = False
        try:
            async with (
                asyncio.timeout(FIRST_BYTE_SECONDS) as patience,
                self._api.stream(session, FIRST_BYTE_SECONDS + self._listen) as chunks,
            ):
                opened = True
                decoder = SseDecoder()
                async for chunk in chunks:
                    before = decoder.life_signs
                    decoder.feed(chunk)
                    if not arrivals:
                        patience.reschedule(clock() + self._listen)
                    arrivals.append((clock() - began, decoder.life_signs - before))
                    if decoder.life_signs > arrivals[0][1]:
                        break  # a second sign of life: it flows
                else:
                    ended = True
        except TimeoutError:
            pass  # the arrivals so far tell enough
        except UpstreamRefused as error:
            report.problem(f"Harness refuses it ({error})", "ask again: the key may be revoked by now")
            return
        except UpstreamError as error:
            report.problem(str(error), _MIDDLEBOX if opened else "")
            return
        if ended:
            _tell_end(report, [at for at, _ in arrivals], clock() - began)
        else:
            _tell_stream(report, arrivals, opened=opened, listen=self._listen)

    async def _each(self, report: Reporter, ask: Callable[[Session, Reporter], Awaitable[None]]) -> None:
        """Call ``ask`` for every environment whose key was accepted."""
        await self._entered.wait()
        if not self._sessions:
            report.skipped("no key was accepted")
        await report.each([(_name(session), partial(ask, session)) for session in self._sessions.values()])


def _tell_end(report: Reporter, arrivals: Sequence[float], lasted: float) -> None:
    """Report a stream that Harness, or something between, ended; times are seconds since the start."""
    if arrivals:
        said = f"first byte after {arrivals[0]:.1f} s, and it ended {lasted - arrivals[0]:.1f} s later"
    else:
        said = f"it opened, but no byte came, and it ended after {lasted:.1f} s"
    report.problem(said, _MIDDLEBOX)


def _tell_stream(
    report: Reporter, arrivals: Sequence[tuple[float, int]], *, opened: bool, listen: float
) -> None:
    """Report what the arrivals (seconds since the start, number of records) tell about the connection."""
    if not arrivals:
        what = "it opened, but no byte came" if opened else "no answer came"
        report.problem(f"{what} within {FIRST_BYTE_SECONDS:.0f} s", _MIDDLEBOX)
        return
    first = arrivals[0][0]
    said = f"first byte after {first:.1f} s"
    if len(arrivals) == 1:
        report.warning(f"{said}, then nothing for {listen:.0f} s, where heartbeats should come", _MIDDLEBOX)
    elif max(records for _, records in arrivals) >= _BURST:
        report.warning(f"{said}, and then several records at once", _MIDDLEBOX)
    else:
        report.ok(f"{said}, the next {arrivals[-1][0] - first:.1f} s later")


def _name(session: Session) -> str:
    return session.environment.identifier or session.environment.id
