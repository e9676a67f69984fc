"""What is said of a request that failed."""

import errno
import os
import socket
import ssl

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.upstream.failure_text import causes, reason

PROXY = "http://proxy.test:3128"


def wrapped(cause: BaseException) -> httpx2.ConnectError:
    """As the HTTP client wraps it, which tells of no cause itself."""
    error = httpx2.ConnectError("All connection attempts failed")
    middle = OSError("All connection attempts failed")
    middle.__cause__ = ExceptionGroup("several", [cause]) if isinstance(cause, Exception) else cause
    error.__cause__ = middle
    return error


@given(number=st.sampled_from(sorted(errno.errorcode)))
def test_the_system_is_quoted_in_words(number: int) -> None:
    """However deep the error is buried."""
    assert reason(wrapped(OSError(number, "x")), "", "").startswith(os.strerror(number))


def test_too_few_files_say_what_to_raise() -> None:
    """Otherwise it reads as the network's fault."""
    assert "ulimit -n" in reason(wrapped(OSError(errno.EMFILE, "x")), "", "")


def test_a_name_that_cannot_be_resolved() -> None:
    """Says that it is the name."""
    error = wrapped(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert reason(error, "", "") == "the host name cannot be resolved: Name or service not known"


def test_a_proxy_on_the_way_is_named() -> None:
    """It may be the one that is down."""
    error = wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "x"))
    assert reason(error, PROXY, "") == f"Connection refused (through the outbound proxy {PROXY})"


@pytest.mark.parametrize("answer", ["403 Forbidden", "502 Bad Gateway", "418 "])
def test_a_refusal_of_the_proxy_is_the_proxys(answer: str) -> None:
    """Harness has not been asked."""
    said = reason(httpx2.ProxyError(answer), PROXY, "")
    assert said.startswith(f"the outbound proxy {PROXY} refused the connection ({answer})")
    assert "NO_PROXY" in said


def test_a_proxy_that_requires_a_login() -> None:
    """The message says where to set it."""
    assert "user:password" in reason(httpx2.ProxyError("407 Proxy Authentication Required"), PROXY, "")


def test_a_certificate_that_is_not_trusted_is_shown() -> None:
    """With what to do."""
    refused = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    refused.verify_message = "self-signed certificate in certificate chain"
    said = reason(wrapped(refused), "", "it is for a, signed by Inspection CA")
    assert "self-signed certificate in certificate chain" in said
    assert "signed by Inspection CA; set the CAs" in said
    assert "SSL_CERT_FILE" in said
    assert "SSL_CERT_DIR" in said


def test_other_trouble_with_tls_is_put_in_words() -> None:
    """Without the source line of OpenSSL."""
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    error.reason = "WRONG_VERSION_NUMBER"
    assert reason(wrapped(error), "", "") == "TLS failed: wrong version number"


def test_circular_causes() -> None:
    """Libraries make such chains."""
    one, other = OSError("one"), OSError("other")
    one.__cause__, other.__cause__ = other, one
    assert len(list(causes(one))) < 20
    assert reason(one, "", "") == "one"
