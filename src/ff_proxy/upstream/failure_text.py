"""Describing why a request to Harness failed, and what to check (spec/behaviour#error-messages)."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx2

from ff_proxy.aio.border import described
from ff_proxy.errors import UpstreamRefused

_MAX_DEPTH: Final = 16
_NOT_FOUND: Final = 404
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_PROXY_LOGIN: Final = "407"


def untrusted(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The certificate error behind ``error``, if any."""
    return next((cause for cause in causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)


def reason(error: BaseException, proxy: str, certificate: str) -> str:
    """Describe why a request failed.

    ``proxy`` is the outbound proxy, ``certificate`` describes the refused certificate; either may be empty.
    """
    if isinstance(error, httpx2.ProxyError):
        return _refused_by_proxy(str(error), proxy)
    through = f" (through the outbound proxy {proxy})" if proxy else ""
    refused = untrusted(error)
    if refused is not None:
        text = getattr(refused, "verify_message", "") or described(refused)
        return (
            f"the certificate is not trusted: {text}{through}; "
            f"{certificate}{'; ' if certificate else ''}"
            "set the CAs to trust with SSL_CERT_FILE or SSL_CERT_DIR"
        )
    return f"{_describe(error)}{through}"


def advice(refused: UpstreamRefused, option: str) -> str:
    """Advice about a 404 for something that Harness always has; ``option`` is the option with its address."""
    if refused.status == _NOT_FOUND:
        return f"is the address in {option} complete, with a path such as /api/1.0?"
    return ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and its causes, with the members of groups; bounded, since chains may be circular."""
    waiting = [error]
    for _ in range(_MAX_DEPTH):
        if not waiting:
            return
        cause = waiting.pop(0)
        if cause is None:
            continue
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
        waiting += [cause.__cause__] if cause.__cause__ is not None else [cause.__context__]


def _refused_by_proxy(answer: str, proxy: str) -> str:
    proxy_text = f"the outbound proxy {proxy}".rstrip()
    if answer.startswith(_PROXY_LOGIN):
        return (
            f"{proxy_text} requires a login ({answer}): write http://user:password@host:port in HTTPS_PROXY"
        )
    return f"{proxy_text} refused the connection ({answer}): allow it there, or name the host in NO_PROXY"


def _describe(error: BaseException) -> str:
    for cause in causes(error):
        if isinstance(cause, socket.gaierror):
            return f"the host name cannot be resolved: {cause.strerror}"
        if isinstance(cause, ssl.SSLError):
            # The library sets it only on OpenSSL errors.
            text = getattr(cause, "reason", None) or described(cause)
            return f"TLS failed: {text.replace('_', ' ').lower()}"
        if isinstance(cause, OSError) and cause.errno is not None:
            advice = ": raise the limit of open files (ulimit -n)" if cause.errno in _NO_FILES else ""
            return f"{os.strerror(cause.errno)}{advice}"
    return described(error)
