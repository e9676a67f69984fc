"""The certificates that are trusted, for connections to Harness, Redis and Sentinels.

See spec/behaviour#certificates.
"""

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ff_proxy.errors import StartupError
from ff_proxy.file_reading import read_regular_file

_FILE: Final = "SSL_CERT_FILE"
_DIRECTORY: Final = "SSL_CERT_DIR"
# Where systems keep them if their OpenSSL was built for another place.
_USUAL_FILES: Final = (
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
)
_DER: Final = b"\x30"


@dataclass(frozen=True, slots=True)
class Trust:
    """The TLS context, and the files in ``SSL_CERT_DIR`` that could not be used, each with the reason."""

    context: ssl.SSLContext
    unusable: tuple[str, ...] = ()


def client_trust(environ: Mapping[str, str]) -> Trust:
    """A context for outgoing connections, which verifies certificate and host name.

    ``SSL_CERT_FILE`` replaces the system's file, ``SSL_CERT_DIR`` (several, separated by colons) its
    directory; every file there counts, whatever its name, in PEM or DER form. Every certificate in them is
    trusted: a root, an intermediate authority, or a server's own.

    Raises ``StartupError`` if a variable names nothing usable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # From Python 3.13 on the library is strict by default, which companies' own authorities rarely pass.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    system = ssl.get_default_verify_paths()
    unusable: list[str] = []
    if file := environ.get(_FILE, "").strip():
        if reason := _add(context, Path(file)):
            raise StartupError(f"{_FILE}: {reason}")
    elif found := next(filter(os.path.isfile, (system.openssl_cafile, *_USUAL_FILES)), None):
        context.load_verify_locations(cafile=found)
    if directories := environ.get(_DIRECTORY, "").strip():
        unusable += filter(None, (_add(context, path) for path in _files(directories.split(os.pathsep))))
    elif os.path.isdir(system.openssl_capath):  # noqa: PTH112  (a text, as OpenSSL has it)
        context.load_verify_locations(capath=system.openssl_capath)
    return Trust(context, tuple(unusable))


def _files(directories: Sequence[str]) -> Iterator[Path]:
    """The files of the directories, each once: most have a second name, which is a hash."""
    seen: set[tuple[int, int]] = set()
    missing: list[str] = []
    for directory in filter(None, (name.strip() for name in directories)):
        try:
            entries = sorted(Path(directory).iterdir())
        except OSError as error:
            missing.append(f"{directory}: {error.strerror}")
            continue
        for path in entries:
            try:
                status = path.stat()
            except OSError:
                continue  # a link to nowhere
            identity = (status.st_dev, status.st_ino)
            if path.is_file() and identity not in seen:
                seen.add(identity)
                yield path
    if missing and not seen:
        raise StartupError(f"{_DIRECTORY}: {'; '.join(missing)}")


def _add(context: ssl.SSLContext, path: Path) -> str:
    """Trust the certificates in ``path``; returns what is wrong with it, if anything."""
    try:
        text = read_regular_file(path)
        if text.startswith(_DER):
            context.load_verify_locations(cadata=text)
        else:
            context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        return f"{path} has no readable certificate: {error.reason or error.strerror}"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
    return ""
