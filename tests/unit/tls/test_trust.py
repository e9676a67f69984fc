"""Whose certificates are believed."""

import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ff_proxy.errors import StartupError
from ff_proxy.tls.certificates import read_pem
from ff_proxy.tls.trust import client_trust
from tests.support.certificates import make_certificate


def believes(environ: Mapping[str, str], files: tuple[Path, Path], host: str = "localhost") -> bool:
    """Whether a client with this environment shakes hands with a server that has these files."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*files)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_trust(environ).context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return client.version() is not None


def openssl(*arguments: str) -> None:
    """Run it."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=20)


def issue(
    directory: Path, authority: tuple[Path, Path] | None, name: str, *extensions: str
) -> tuple[Path, Path]:
    """A certificate and its key, signed by ``authority`` or by itself, with no extension but these."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    request, extra = directory / f"{name}.csr", directory / f"{name}.ext"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
    extra.write_text("\n".join(extensions))
    signer = (
        ("-signkey", str(key))
        if authority is None
        else ("-CA", str(authority[0]), "-CAkey", str(authority[1]))
    )
    openssl(
        *("x509", "-req", "-in", str(request), *signer, "-set_serial", "7", "-days", "2"),
        *("-extfile", str(extra), "-out", str(certificate)),
    )
    return certificate, key


def test_nobody_unknown_is_believed(tmp_path: Path) -> None:
    """By the system's authorities."""
    assert not believes({}, make_certificate(tmp_path))


def test_the_file_is_believed_for_the_hosts_it_names(tmp_path: Path) -> None:
    """And for no others."""
    files = make_certificate(tmp_path)
    environ = {"SSL_CERT_FILE": f" {files[0]} "}
    assert believes(environ, files)
    assert not believes(environ, files, host="elsewhere.test")
    assert not believes(environ, make_certificate(tmp_path, "other"))


@pytest.mark.parametrize("form", ["company.pem", "company.crt", "0123abcd.0", "authority", "binary.der"])
def test_every_file_in_the_directory_counts(tmp_path: Path, form: str) -> None:
    """However it is named, in PEM and in binary form; Kubernetes puts links there, and a directory."""
    directory = tmp_path / "authorities"
    (directory / "..data").mkdir(parents=True)
    files = make_certificate(tmp_path)
    text = files[0].read_bytes()
    if form.endswith(".der"):
        text = ssl.PEM_cert_to_DER_cert(text.decode())
    (directory / "..data" / form).write_bytes(text)
    (directory / form).symlink_to(Path("..data") / form)
    (directory / "dangling.pem").symlink_to("nowhere")
    trust = client_trust({"SSL_CERT_DIR": str(directory)})
    assert trust.unusable == ()
    assert believes({"SSL_CERT_DIR": str(directory)}, files)


def test_several_directories_and_a_file(tmp_path: Path) -> None:
    """All of them together; one of the directories may be missing."""
    made = [make_certificate(tmp_path, name) for name in ("one", "two", "three")]
    for (certificate, _), name in zip(made[:2], ("a", "b"), strict=True):
        (tmp_path / name).mkdir()
        shutil.copy(certificate, tmp_path / name)
    directories = f"{tmp_path / 'a'}:/nowhere:{tmp_path / 'b'}"
    environ = {"SSL_CERT_DIR": directories, "SSL_CERT_FILE": str(made[2][0])}
    assert all(believes(environ, files) for files in made)


def test_what_is_no_certificate_in_the_directory_is_named(tmp_path: Path) -> None:
    """And keeps no other from being used."""
    files = make_certificate(tmp_path)
    directory = tmp_path / "authorities"
    directory.mkdir()
    shutil.copy(files[0], directory / "z.pem")
    (directory / "README").write_text("hello")
    (directory / "broken.der").write_bytes(b"\x30nonsense")
    environ = {"SSL_CERT_DIR": str(directory)}
    one, other = sorted(client_trust(environ).unusable)
    assert "README" in one
    assert "broken.der" in other
    assert believes(environ, files)


@pytest.mark.parametrize(
    ("variable", "content"),
    [("SSL_CERT_FILE", None), ("SSL_CERT_FILE", b""), ("SSL_CERT_FILE", b"\x30x"), ("SSL_CERT_DIR", None)],
)
def test_a_variable_that_names_nothing_stops_the_start(
    tmp_path: Path, variable: str, content: bytes | None
) -> None:
    """With its name, and the path."""
    path = tmp_path / "named"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartupError, match=f"{variable}: {path}"):
        client_trust({variable: str(path)})


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        ("basicConstraints=CA:TRUE",),
        ("basicConstraints=CA:TRUE", "subjectKeyIdentifier=none", "authorityKeyIdentifier=none"),
    ],
)
def test_authorities_that_companies_really_use_are_believed(
    tmp_path: Path, extensions: tuple[str, ...]
) -> None:
    """Without key identifiers, key usage, or a mark that the constraints are critical."""
    authority = issue(tmp_path, None, "authority", *(extensions or ("basicConstraints=CA:TRUE",)))
    leaf = issue(tmp_path, authority, "leaf", "subjectAltName=DNS:localhost", *extensions[1:])
    assert believes({"SSL_CERT_FILE": str(authority[0])}, leaf)


def test_an_authority_below_a_root_may_be_named_alone(tmp_path: Path) -> None:
    """As Go does it: what is named is believed."""
    root = issue(tmp_path, None, "root", "basicConstraints=critical,CA:TRUE")
    middle = issue(tmp_path, root, "middle", "basicConstraints=critical,CA:TRUE")
    leaf = issue(tmp_path, middle, "leaf", "subjectAltName=DNS:localhost")
    assert believes({"SSL_CERT_FILE": str(middle[0])}, leaf)
    assert not believes({"SSL_CERT_FILE": str(root[0])}, leaf)  # the server does not show the one between


def test_no_python_is_strict(tmp_path: Path) -> None:
    """From 3.13 on it would be by default."""
    context = client_trust({}).context
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert read_pem(make_certificate(tmp_path)[0].read_bytes())
