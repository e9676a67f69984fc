"""The admin API: an environment's hashed keys and targets, page by page, without trusting the pages."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from ff_proxy.errors import UpstreamMalformed, UpstreamRefused
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import SdkKeyHash, Secret
from ff_proxy.model.target import Target
from ff_proxy.upstream.http import MEBIBYTE, Request
from ff_proxy.upstream.responses import Caller, described_body
from ff_proxy.wire.admin import Page, read_key_page, read_target_page

Entry = TypeVar("Entry")

# Tokens of Harness name their account: pat.ACCOUNT.ID.SECRET, sat.ACCOUNT.ID.SECRET.
_TOKEN_KINDS: Final = frozenset({"pat", "sat"})
_UNAUTHORISED: Final = 401
_FORBIDDEN: Final = 403
_PAGE_SIZE: Final = 100
_MOST_PAGES: Final = 1000
_PAGE_LIMIT: Final = 32 * MEBIBYTE


class Listing(msgspec.Struct, Generic[Entry], frozen=True):
    """What the pages held; ``complete`` is ``True`` only if that is certainly all there is."""

    entries: tuple[Entry, ...]
    complete: bool


class AdminApi:
    """Listings of the admin service. Every method raises ``UpstreamError``.

    Args:
        caller: sends.
        service: base URL (option ``admin-service``).
        token: sent as ``x-api-key``.
        account, organization: the identifiers that every listing is asked for with.
        most_pages: where a listing that does not end is given up.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        service: str,
        token: Secret,
        account: str,
        organization: str,
        most_pages: int = _MOST_PAGES,
    ) -> None:
        self._caller = caller
        self._service = service.rstrip("/")
        self._token = token
        self._account = account
        self._organization = organization
        self._most_pages = most_pages

    async def keys(self, environment: EnvironmentInfo) -> Listing[SdkKeyHash]:
        """The hashes of the environment's SDK keys."""
        return await self._list("/admin/apikey", environment, read_key_page)

    async def targets(self, environment: EnvironmentInfo) -> Listing[Target]:
        """The environment's targets."""
        return await self._list("/admin/targets", environment, read_target_page)

    async def _list(
        self, path: str, environment: EnvironmentInfo, read: Callable[[bytes], Page[Entry] | None]
    ) -> Listing[Entry]:
        if not environment.identifier or not environment.project_identifier:
            raise UpstreamMalformed(
                f"environment {environment.id}: SaaS's token names no project and environment identifier"
            )
        entries: dict[str, Entry] = {}
        seen: set[str] = set()
        for number in range(self._most_pages):
            page = await self._page(path, environment, number, read)
            fresh = page.names - seen
            seen |= fresh
            entries |= page.entries
            counted_out = page.page_count is not None and number + 1 >= page.page_count
            if page.item_count is not None:
                # More than announced is a listing that changed while it was read.
                if len(seen) >= page.item_count or counted_out or not fresh:
                    return Listing(tuple(entries.values()), len(seen) == page.item_count)
            elif counted_out or not fresh:
                # No new name: an empty page is the end, a repeated one a server that ignores the number.
                complete = not page.names or bool(fresh)
                return Listing(tuple(entries.values()), complete)
        return Listing(tuple(entries.values()), complete=False)

    async def _page(
        self,
        path: str,
        environment: EnvironmentInfo,
        number: int,
        read: Callable[[bytes], Page[Entry] | None],
    ) -> Page[Entry]:
        request = Request(
            "GET",
            f"{self._service}{path}",
            path,
            environment=environment.id,
            query={
                "accountIdentifier": self._account,
                "orgIdentifier": self._organization,
                "projectIdentifier": environment.project_identifier,
                "environmentIdentifier": environment.identifier,
                "pageNumber": str(number),
                "pageSize": str(_PAGE_SIZE),
            },
            headers={"x-api-key": self._token.reveal(), "Accept": "application/json"},
            limit=_PAGE_LIMIT,
        )
        try:
            reply = await self._caller.call(request)
        except UpstreamRefused as refused:
            raise self._explained(refused, request, environment) from refused
        page = read(reply.body)
        if page is None:
            raise UpstreamMalformed(
                f"{request}: the answer is not a page of a listing: {described_body(reply)}"
            )
        return page

    def _explained(
        self, refused: UpstreamRefused, request: Request, environment: EnvironmentInfo
    ) -> UpstreamRefused:
        """The same, with what to look at: three options and a role can be wrong."""
        home = f"organization {self._organization!r}, project {environment.project_identifier!r}"
        kind, _, rest = self._token.reveal().partition(".")
        if kind in _TOKEN_KINDS and "." in rest and rest.partition(".")[0] != self._account:
            why = "account-identifier is not the account that admin-service-token is of"
        elif refused.status == _UNAUTHORISED:
            why = "admin-service-token is not valid: check the token, it may have ended or been deleted"
        elif refused.status == _FORBIDDEN:
            why = (
                f"admin-service-token may not read this of {home}: check account-identifier and "
                "org-identifier, and the permissions of the token"
            )
        else:
            why = f"there is no {home} in the account: check org-identifier and account-identifier"
        explained = UpstreamRefused(
            f"admin-service-token refused with {refused.status} by {request}: {why}", status=refused.status
        )
        explained.shared_cause = f"{refused.shared_cause or refused}: {why}"
        return explained
