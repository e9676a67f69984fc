"""Why Harness could not be asked, in words that say where to look (spec/behaviour#error-messages)."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx2

from ff_proxy.aio.border import described
from ff_proxy.errors import UpstreamRefused

_DEEPEST: Final = 16
_NOT_FOUND: Final = 404
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_PROXY_LOGIN: Final = "407"


def untrusted(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The refusal of a certificate, if that is what ``error`` is about."""
    return next((one for one in causes(error) if isinstance(one, ssl.SSLCertVerificationError)), None)


def reason(error: BaseException, proxy: str, certificate: str) -> str:
    """Why a request failed.

    ``proxy`` is the outbound proxy on the way, ``certificate`` what is known of the one that was refused;
    either may be empty.
    """
    if isinstance(error, httpx2.ProxyError):
        return _refused_by_proxy(str(error), proxy)
    through = f" (through the outbound proxy {proxy})" if proxy else ""
    refused = untrusted(error)
    if refused is not None:
        why = getattr(refused, "verify_message", "") or described(refused)
        return (
            f"the certificate is not trusted: {why}{through}; "
            f"{certificate}{'; ' if certificate else ''}"
            "name authorities to trust with SSL_CERT_FILE or SSL_CERT_DIR"
        )
    return f"{_words(error)}{through}"


def advice(refused: UpstreamRefused, option: str) -> str:
    """What to do about a refusal of something that Harness always has; ``option`` holds its address."""
    if refused.status == _NOT_FOUND:
        return f"is the address in {option} complete, with a path such as /api/1.0?"
    return ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and what is behind it, with the members of groups; bounded, as chains may be circles."""
    waiting = [error]
    for _ in range(_DEEPEST):
        if not waiting:
            return
        one = waiting.pop(0)
        if one is None:
            continue
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [one.__cause__] if one.__cause__ is not None else [one.__context__]


def _refused_by_proxy(answer: str, proxy: str) -> str:
    who = f"the outbound proxy {proxy}".rstrip()
    if answer.startswith(_PROXY_LOGIN):
        return f"{who} wants a login ({answer}): write http://user:password@host:port in HTTPS_PROXY"
    return f"{who} refused the connection ({answer}): allow it there, or name the host in NO_PROXY"


def _words(error: BaseException) -> str:
    for one in causes(error):
        if isinstance(one, socket.gaierror):
            return f"the host name cannot be resolved: {one.strerror}"
        if isinstance(one, ssl.SSLError):
            # The library sets it on errors of OpenSSL only.
            why = getattr(one, "reason", None) or described(one)
            return f"TLS failed: {why.replace('_', ' ').lower()}"
        if isinstance(one, OSError) and one.errno is not None:
            advice = ": raise the limit of open files (ulimit -n)" if one.errno in _NO_FILES else ""
            return f"{os.strerror(one.errno)}{advice}"
    return described(error)
