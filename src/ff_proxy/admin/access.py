"""Access control of the admin address (spec/behaviour#admin)."""

import base64
import binascii
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.requests import HTTPConnection

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import Secret
from ff_proxy.model.token_buckets import TokenBuckets

COOKIE: Final = "ff_proxy_admin"
SESSION_SECONDS: Final = 12 * 3600.0
_MOST_SESSIONS: Final = 256
_MINUTE: Final = 60.0
# Wrong tokens at once, and in each minute after that.
_TRIES: Final = 10
_TRIES_OF_ALL: Final = 200
_TRACKED_BYTES: Final = 256 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_SAME: Final = frozenset({"same-origin", "none"})


class FailedTries:
    """Limits wrong tokens, per client address and of all addresses."""

    def __init__(self, clock: Clock) -> None:
        self._by_address = TokenBuckets(_TRIES, _TRIES / _MINUTE, clock, budget=_TRACKED_BYTES)
        self._of_all = TokenBuckets(_TRIES_OF_ALL, _TRIES_OF_ALL / _MINUTE, clock, budget=_TRACKED_BYTES)

    def too_many(self, address: str) -> bool:
        """Whether ``address`` has to wait before its next try."""
        return bool(self._by_address.wait(address) or self._of_all.wait(""))

    def note(self, address: str) -> None:
        """Count a wrong token from ``address``."""
        self._by_address.take(address)
        self._of_all.take("")


class AdminAccess:
    """Checks tokens, sessions and origins.

    Without a token only loopback is served. ``Host`` must then be a loopback name too, since otherwise any
    web page in the operator's browser could reach the address through its own domain (DNS rebinding).

    Args:
        token: returns the current token, if there is one.
        clock: time, to end sessions.
    """

    def __init__(self, token: Callable[[], Secret | None], clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._sessions: dict[str, tuple[float, Secret]] = {}
        self.tries: Final = FailedTries(clock)

    @property
    def open(self) -> bool:
        """Whether no token is required."""
        return self._token() is None

    def matches(self, text: str) -> bool:
        """Whether ``text`` is the token, compared in constant time."""
        token = self._token()
        return token is not None and secrets.compare_digest(
            token.reveal().encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass")
        )

    def begin_session(self) -> str:
        """A new session's name, for the cookie."""
        token = self._token()
        assert token is not None  # noqa: S101  (sessions begin with a token that matches)
        now = self._clock.monotonic()
        self._sessions = {name: one for name, one in self._sessions.items() if one[0] > now}
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[name] = (now + SESSION_SECONDS, token)
        return name

    def end_session(self, connection: HTTPConnection) -> None:
        """Forget the session of this request."""
        self._sessions.pop(_cookie(connection), None)

    def in_session(self, connection: HTTPConnection) -> bool:
        """Whether the request carries a session of the present token that has not ended."""
        held = self._sessions.get(_cookie(connection))
        return held is not None and held[0] > self._clock.monotonic() and held[1] == self._token()

    def presented(self, connection: HTTPConnection) -> str | None:
        """The token in ``Authorization``: bearer or basic auth; ``None`` if there is none."""
        scheme, _, value = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return value.strip()
        if scheme.lower() != "basic":
            return None
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""

    def right_host(self, connection: HTTPConnection) -> bool:
        """Whether ``Host`` is allowed; see the class."""
        return not self.open or _host_name(connection.headers.get("host", "")) in _LOOPBACK

    @staticmethod
    def same_origin(connection: HTTPConnection) -> bool:
        """Whether a request comes from our own pages, or not from a browser at all."""
        site = connection.headers.get("sec-fetch-site")
        if site is not None and site not in _SAME:
            return False
        origin = connection.headers.get("origin")
        if origin is None:
            # Browsers send Origin with every form; a request with our cookie is from a browser.
            return COOKIE not in connection.headers.get("cookie", "")
        _, separator, host = origin.partition("://")
        return bool(separator) and host == connection.headers.get("host")


def client_address(connection: HTTPConnection) -> str:
    """The address of the client."""
    return connection.client.host if connection.client is not None else ""


def _cookie(connection: HTTPConnection) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(connection.headers.get("cookie", ""))
    except CookieError:
        return ""
    held = jar.get(COOKIE)
    return held.value if held is not None else ""


def _host_name(host: str) -> str:
    """``Host`` without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host
