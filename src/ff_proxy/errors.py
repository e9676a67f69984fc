"""The one exception tree of ff-proxy, and the exit codes it ends in.

::

    FfProxyError
    ├── ConfigError               options are wrong: every problem at once, exit 2
    ├── StartupError              cannot start: port or data directory busy, directory not writable; exit 3
    ├── UpstreamError             Harness
    │   ├── UpstreamUnavailable   no answer, a 5xx, a timeout, anything that may be better later
    │   │   └── UpstreamPending       it was not asked: no key of the environment is accepted yet
    │   ├── UpstreamRefused       401, 403, 404, or a body rejected: definite until somebody changes something
    │   └── UpstreamMalformed     an answer that is not what the API promises
    ├── StoreError                the place where environments are kept
    │   ├── StoreUnavailable      it does not answer now
    │   │   ├── StoreMisconfigured    and will not before somebody changes an option, or it
    │   │   └── StoreUnreadable       it answers with what somebody else has written there
    │   ├── StoreRefused          this one entry cannot be kept, others can
    │   └── StoreUnusable         it answers, but its content is corrupt or of a newer version; exit 3
    ├── MalformedJson             bytes that are no JSON, or JSON nested too deeply
    ├── OfflineDataError          a file of an offline directory: names file and place
    └── RequestError              what a client asked for is refused: carries the HTTP status

Errors of libraries (sockets, HTTP client, SQLite, Redis) become one of these where they enter
(``aio.border``), always ``from`` the original.
"""

from enum import IntEnum
from typing import Final

REJECTING_BODY: Final = frozenset({400, 413, 422})
"""Statuses that reject what was posted, not who posted it."""

_REJECTING_CREDENTIALS: Final = frozenset({401, 403})


class ExitCode(IntEnum):
    """How the process ends; a supervisor respawns on 1 and gives up on 2 and 3.

    See spec/behaviour#modes, spec/behaviour#options.
    """

    OK = 0
    CRASH = 1
    BAD_CONFIGURATION = 2
    CANNOT_START = 3


class FfProxyError(Exception):
    """Anything that ff-proxy itself raises."""

    exit_code: ExitCode = ExitCode.CRASH


class ConfigError(FfProxyError):
    """Options that cannot be used; ``problems`` holds one sentence each, all of them."""

    exit_code = ExitCode.BAD_CONFIGURATION

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StartupError(FfProxyError):
    """The process cannot begin its work; the message says what to change."""

    exit_code = ExitCode.CANNOT_START


class UpstreamError(FfProxyError):
    """Harness could not be used for what was asked.

    ``perhaps_done`` says that the request had been sent when it failed: it may have been carried out.
    ``shared_cause`` says what went wrong without what was asked for, so that others that ask for something
    else have the same one; empty if nobody can tell.
    """

    perhaps_done: bool = False
    shared_cause: str = ""


class UpstreamUnavailable(UpstreamError):  # noqa: N818  (reads as what it says of the upstream)
    """No usable answer now: connection, timeout, 429 or 5xx. Worth a retry.

    ``retry_after`` is the number of seconds the server asked to wait, if it did.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamPending(UpstreamUnavailable):
    """Harness was not asked, since it has not accepted a key of the environment yet: no trouble by itself."""


class UpstreamRefused(UpstreamError):  # noqa: N818  (as above)
    """Harness answered ``status``: definite for this credential, this item or what was posted."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def rejects_credentials(self) -> bool:
        """Whether the key or token is refused (401, 403): with another one it might be done."""
        return self.status in _REJECTING_CREDENTIALS

    @property
    def rejects_body(self) -> bool:
        """Whether what was posted is refused: part of it may be acceptable, but all of it never is."""
        return self.status in REJECTING_BODY


class UpstreamMalformed(UpstreamError):  # noqa: N818  (as above)
    """Harness answered something that the API does not promise: HTML, wrong types, half a body."""


class StoreError(FfProxyError):
    """The store could not be used."""


class StoreUnavailable(StoreError):  # noqa: N818  (reads as what it says of the store)
    """The store does not answer now; what is in the snapshots keeps being served.

    ``reported`` says that the store itself tells its keeper of it, so that nobody else has to.
    """

    def __init__(self, message: str, *, reported: bool = False) -> None:
        super().__init__(message)
        self.reported = reported


class StoreMisconfigured(StoreUnavailable):
    """The store is not to be had with these options: a wrong password, database or port, or no rights.

    It is tried again all the same: what is wrong may be put right on the other side.
    """


class StoreUnreadable(StoreUnavailable):
    """The store has something in place of what is asked for that cannot be read."""


class StoreRefused(StoreError):  # noqa: N818  (as above)
    """This one entry cannot be kept, now or later: drop it and go on with the next."""


class StoreUnusable(StoreError):  # noqa: N818  (as above)
    """The store's content is corrupt, or of a newer version than this program."""

    exit_code = ExitCode.CANNOT_START


class MalformedJson(FfProxyError):  # noqa: N818  (reads as what it says of the bytes)
    """Bytes that are no JSON, or JSON that is nested more deeply than can be read."""


class OfflineDataError(FfProxyError):
    """A file of an offline directory cannot be used.

    Args:
        path: the file.
        problem: what is wrong, in words.
        place: where in the file (``line 3 column 7``, or a path such as ``[2].variations``), if known.
    """

    exit_code = ExitCode.CANNOT_START

    def __init__(self, path: str, problem: str, *, place: str | None = None) -> None:
        super().__init__(f"{path}: {place}: {problem}" if place else f"{path}: {problem}")
        self.path = path
        self.problem = problem
        self.place = place


class RequestError(FfProxyError):
    """A client's request is refused with HTTP ``status``; ``retry_after`` in seconds, if it may retry."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
