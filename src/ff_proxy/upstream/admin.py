"""The admin API: an environment's hashed keys and targets, page by page, with checks for completeness."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from ff_proxy.errors import UpstreamMalformed, UpstreamRefused
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import SdkKeyHash, Secret
from ff_proxy.model.target import Target
from ff_proxy.upstream.responses import Caller, describe_body
from ff_proxy.upstream.transport import MEBIBYTE, Request
from ff_proxy.wire.admin import Page, read_key_page, read_target_page

Entry = TypeVar("Entry")

# Harness's tokens contain their account: pat.ACCOUNT.ID.SECRET, sat.ACCOUNT.ID.SECRET.
_TOKEN_KINDS: Final = frozenset({"pat", "sat"})
_UNAUTHORISED: Final = 401
_FORBIDDEN: Final = 403
_PAGE_SIZE: Final = 100
_MAX_PAGES: Final = 1000
_PAGE_LIMIT: Final = 32 * MEBIBYTE


class Listing(msgspec.Struct, Generic[Entry], frozen=True):
    """The entries of all pages; ``complete`` is ``True`` only if they are certainly all."""

    entries: tuple[Entry, ...]
    complete: bool


class AdminApi:
    """Listings of the admin service. Every method raises ``UpstreamError``.

    Args:
        caller: sends requests.
        service: base URL (option ``admin-service``).
        token: sent as ``x-api-key``.
        account, organization: identifiers sent with every request.
        max_pages: the page after which an endless listing is given up.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        service: str,
        token: Secret,
        account: str,
        organization: str,
        max_pages: int = _MAX_PAGES,
    ) -> None:
        self._caller = caller
        self._service = service.rstrip("/")
        self._token = token
        self._account = account
        self._organization = organization
        self._most_pages = max_pages

    def authenticate_with(self, token: Secret) -> None:
        """Send ``token`` with every request from now on."""
        self._token = token

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
                f"environment {environment.id}: Harness's token has no project or environment identifier"
            )
        entries: dict[str, Entry] = {}
        seen: set[str] = set()
        for number in range(self._most_pages):
            page = await self._page(path, environment, number, read)
            new_names = page.names - seen
            seen |= new_names
            entries |= page.entries
            all_counted = page.page_count is not None and number + 1 >= page.page_count
            if page.item_count is not None:
                # More entries than announced: the listing changed while it was read.
                if len(seen) >= page.item_count or all_counted or not new_names:
                    return Listing(tuple(entries.values()), len(seen) == page.item_count)
            elif all_counted or not new_names:
                # No new name: an empty page is the end; a repeated page means that the server ignores the
                # page number.
                complete = not page.names or bool(new_names)
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
            raise self._explain(refused, request, environment) from refused
        page = read(reply.body)
        if page is None:
            raise UpstreamMalformed(
                f"{request}: the response is not a page of a listing: {describe_body(reply)}"
            )
        return page

    def _explain(
        self, refused: UpstreamRefused, request: Request, environment: EnvironmentInfo
    ) -> UpstreamRefused:
        """Add advice: three options and a role can be wrong."""
        place = f"organization {self._organization!r}, project {environment.project_identifier!r}"
        kind, _, rest = self._token.reveal().partition(".")
        if kind in _TOKEN_KINDS and "." in rest and rest.partition(".")[0] != self._account:
            text = "account-identifier is not the account that admin-service-token is of"
        elif refused.status == _UNAUTHORISED:
            text = "admin-service-token is not valid: it may have expired or been deleted"
        elif refused.status == _FORBIDDEN:
            text = (
                f"admin-service-token may not read this in {place}: check account-identifier and "
                "org-identifier, and the permissions of the token"
            )
        else:
            text = f"there is no {place} in the account: check org-identifier and account-identifier"
        with_advice = UpstreamRefused(
            f"admin-service-token refused with {refused.status} by {request}: {text}", status=refused.status
        )
        with_advice.shared_cause = f"{refused.shared_cause or refused}: {text}"
        return with_advice
