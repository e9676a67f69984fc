"""What a request's fields ask of a response."""

import pytest

from ff_proxy.http.negotiate import accepts_gzip, request_id, unchanged


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (None, False),
        (b"", False),
        (b"gzip", True),
        (b"x-gzip", True),
        (b"deflate, GZIP;q=0.001", True),
        (b"gzip;q=0", False),
        (b"gzip; q = 0.000", False),
        (b"*", True),
        (b"*;q=0", False),
        (b"*, gzip;q=0", False),
        (b"gzip;q=x", True),
        (b"gzip;q=1.2.3", False),
        (b"gzipped, br", False),
    ],
)
def test_gzip(value: bytes | None, taken: bool) -> None:
    """A quality for gzip takes precedence over the one for ``*``."""
    assert accepts_gzip(value) is taken


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (None, False),
        (b'"t"', True),
        (b'W/"t"', True),
        (b'"a", "t"', True),
        (b'"a,"t"', False),
        (b"*", True),
        (b" * ", True),
        (b"t", False),
        (b'"T"', False),
        (b"", False),
    ],
)
def test_etags_are_compared_weakly(value: bytes | None, same: bool) -> None:
    """Whichever of the two is the weak one."""
    assert unchanged(value, b'"t"') is same
    assert unchanged(value, b'W/"t"') is same


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [(b"a-1", True), (b"a b", True), (b"", False), (b"x" * 200, True), (b"x" * 201, False), (b"\xe9", False)],
)
def test_request_ids(sent: bytes, echoed: bool) -> None:
    """Printable ASCII of limited length."""
    assert request_id(sent) == (sent if echoed else None)
