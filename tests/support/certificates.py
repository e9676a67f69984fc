"""Certificates for tests of TLS, made by the openssl program."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def make_certificate(
    directory: Path, name: str = "server", *, subject: str = "", days: int = 2, passphrase: str = ""
) -> tuple[Path, Path]:
    """A self-signed certificate for loopback and its key, as PEM files in ``directory``.

    ``subject`` is in openssl's form; with ``passphrase`` the key is encrypted.

    It is its own authority, so it also serves as the file that a peer checks it with. Skips the test (which
    fails it in CI) where there is no openssl.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH")
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(("-passout", f"pass:{passphrase}") if passphrase else ("-nodes",)),
            *(
                "-utf8",
                "-subj",
                subject or f"/CN={name}",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ),
            *("-days", str(days), "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return certificate, key


def sign_certificate(
    directory: Path, names: Sequence[str], authority: tuple[Path, Path]
) -> tuple[Path, Path]:
    """A certificate for these host names, signed by ``authority`` (certificate, key), and its own key."""
    directory.mkdir(parents=True, exist_ok=True)
    request, certificate, key = (directory / name for name in ("server.csr", "server.crt", "server.key"))
    extensions = directory / "extensions"
    extensions.write_text(f"subjectAltName={','.join(f'DNS:{name}' for name in names)}\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    signed_by = ("-CA", str(authority[0]), "-CAkey", str(authority[1]), "-days", "2")
    for command in (
        ("req", "-new", *curve, "-subj", f"/CN={names[0]}", "-keyout", str(key), "-out", str(request)),
        (
            "x509",
            "-req",
            "-in",
            str(request),
            *signed_by,
            "-extfile",
            str(extensions),
            "-out",
            str(certificate),
        ),
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=20)
    return certificate, key
