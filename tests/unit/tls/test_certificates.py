"""Reading what certificates say of themselves."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.tls.certificates import Certificate, read_der, read_pem
from tests.support.certificates import make_certificate

DAY = 86400.0


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("/CN=proxy.test", "proxy.test"),
        ("/O=Example Ltd/CN=Inner CA", "Inner CA (Example Ltd)"),
        ("/O=Example Ltd", "Example Ltd"),
        ("/CN=Prüfstelle", "Prüfstelle"),
        ("/C=DE", "no name"),
    ],
)
def test_names_are_shown_as_people_write_them(tmp_path: Path, subject: str, shown: str) -> None:
    """Of who it is for, and of who signed it."""
    certificate, _ = make_certificate(tmp_path, subject=subject)
    (read,) = read_pem(certificate.read_bytes())
    assert (read.subject, read.issuer) == (shown, shown)


@pytest.mark.parametrize("days", [2, 40_000])
def test_the_time_of_validity_is_read_in_both_forms(tmp_path: Path, days: int) -> None:
    """Dates from 2050 on have four digits."""
    certificate, _ = make_certificate(tmp_path, days=days)
    (read,) = read_pem(certificate.read_bytes())
    now = datetime.now(UTC).timestamp()
    assert abs(read.begins - now) < 120
    assert abs(read.ends - now - days * DAY) < 120
    assert read.good_at(now + 1)
    assert not read.good_at(read.begins - 1)
    assert not read.good_at(read.ends + 1)


def test_the_systems_authorities_can_all_be_read() -> None:
    """As the library reads them."""
    context = ssl.create_default_context()
    library = context.get_ca_certs()
    binary = context.get_ca_certs(binary_form=True)
    for known, der in zip(library, binary, strict=True):
        read = read_der(der)
        assert read.ends == ssl.cert_time_to_seconds(str(known["notAfter"]))
        assert read.begins == ssl.cert_time_to_seconds(str(known["notBefore"]))


def test_a_file_may_hold_several_and_other_things(tmp_path: Path) -> None:
    """In order; keys, comments and empty lines between."""
    names = ("one", "two")
    files = [make_certificate(tmp_path, name) for name in names]
    text = b"# comment\r\n".join(c.read_bytes().replace(b"\n", b"\r\n") + k.read_bytes() for c, k in files)
    assert [read.subject for read in read_pem(text)] == list(names)


@given(cut=st.integers(0, 10_000))
def test_what_is_cut_off_is_refused(certificate_bytes: bytes, cut: int) -> None:
    """But for white space at the end."""
    half = certificate_bytes[:cut]
    if half.strip() == certificate_bytes.strip():
        assert read_pem(half) == read_pem(certificate_bytes)
    else:
        with pytest.raises(ValueError, match=r"incomplete|no certificate|in it"):
            read_pem(half)


@given(at=st.integers(0, 10_000), put=st.binary(max_size=3))
def test_what_is_broken_is_read_or_refused(certificate_bytes: bytes, at: int, put: bytes) -> None:
    """Never another exception."""
    at %= len(certificate_bytes)
    with suppress(ValueError):
        assert read_pem(certificate_bytes[:at] + put + certificate_bytes[at + 1 :])


@given(der=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(der: bytes) -> None:
    """What a peer shows is not trusted to be a certificate."""
    with suppress(ValueError):
        assert isinstance(read_der(der), Certificate)


@pytest.fixture(scope="module")
def certificate_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One certificate in PEM form."""
    return make_certificate(tmp_path_factory.mktemp("pem"))[0].read_bytes()
