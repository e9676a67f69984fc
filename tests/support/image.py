"""The image, really built from the Dockerfile, without a container engine and without a registry.

Its base is made from Debian's packages, since no registry can be counted on. Base and images are kept in the
user's cache: what has not changed is not built again.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

PROJECT: Final = Path(__file__).parents[2]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ff-proxy-tests"

_SUITE: Final = "trixie"  # its Python is the one of the image's own base
_BASE: Final = f"localhost/ff-proxy-base:{_SUITE}"
_NAME: Final = "localhost/ff-proxy"
_CONTAINER: Final = "ff-proxy-tests-"  # and the process that has it mounted
_PACKAGES: Final = "python3,python3-venv,ca-certificates"
_MIRROR: Final = "http://deb.debian.org/debian"
# Authorities that this machine trusts beside those that the base comes with: a mirror may be behind one.
_OWN_AUTHORITIES: Final = Path("/usr/local/share/ca-certificates")
_NOT_SHIPPED: Final = ("./proc/*", "./sys/*", "./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*")
_UNSHIPPED: Final = {"__pycache__"}
_BUILD_SECONDS: Final = 600


@dataclass(frozen=True)
class Image:
    """An image of the project: its file system, and what its configuration says."""

    name: str
    root: Path
    config: dict[str, Any]

    @property
    def environ(self) -> dict[str, str]:
        """The environment that the image starts with."""
        return dict(pair.partition("=")[::2] for pair in self.config["Env"])


def needs_builder() -> None:
    """Skip the test (in CI: fail it) where no image can be built."""
    missing = [name for name in ("buildah", "debootstrap", "openssl") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"the image needs root, buildah, debootstrap and openssl (missing: {missing or 'root'})")


def buildah(*arguments: str) -> str:
    """Call buildah on the store of these tests; it must succeed."""
    done = _try_buildah(*arguments)
    assert done.returncode == 0, (
        f"buildah {' '.join(arguments)[:300]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    )
    return done.stdout.strip()


def _try_buildah(*arguments: str) -> subprocess.CompletedProcess[str]:
    store = CACHE / "containers"
    where = ("--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", "overlay")
    return subprocess.run(
        ["buildah", *where, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )


def company_authority() -> tuple[Path, Path]:
    """The certificate and key of an authority that the image is built to trust; made once."""
    certificate, key = CACHE / "company.crt", CACHE / "company.key"
    with _alone():
        if not key.exists():
            _run(
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                ),
                *("-subj", "/CN=Company authority of the tests", "-days", "3650"),
                *("-keyout", str(key), "-out", str(certificate)),
            )
    return certificate, key


@contextmanager
def built_image(*build_arguments: str) -> Iterator[Image]:
    """The image of this checkout, mounted; ``build_arguments`` are ``NAME=value`` of its ARGs."""
    needs_builder()
    authority, _ = company_authority()
    authorities = "".join(one.read_text() for one in [*sorted(_OWN_AUTHORITIES.glob("*.crt")), authority])
    arguments = [f"BASE={_BASE}", f"CA_CERTIFICATES={authorities}", *build_arguments]
    name = f"{_NAME}:{_digest(arguments)}"
    with _alone():
        _prepare_base()
        if not buildah("images", "--quiet", "--filter", f"reference={name}"):
            _forget_others()
            given = [word for argument in arguments for word in ("--build-arg", argument)]
            recipe = ("bud", "--isolation", "chroot", "--format", "docker", "--layers=false", "--pull-never")
            buildah(*recipe, *given, "--tag", name, str(PROJECT))
        container = buildah("from", "--pull-never", "--name", f"{_CONTAINER}{os.getpid()}", name)
    try:
        inspected = json.loads(buildah("inspect", "--type", "image", name))
        yield Image(name, Path(buildah("mount", container)), inspected["Docker"]["config"])
    finally:
        buildah("rm", container)


def what_the_engine_is_sent() -> list[str]:
    """Paths of the build context, as ``.dockerignore`` leaves it."""
    needs_builder()
    with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as recipe:
        recipe.write("FROM scratch\nCOPY . /\n")
        recipe.flush()
        image = buildah("bud", "--quiet", "--layers=false", "--file", recipe.name, str(PROJECT)).split()[-1]
    container = buildah("from", image)
    try:
        root = Path(buildah("mount", container))
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    finally:
        buildah("rm", container)
        buildah("rmi", image)


def _prepare_base() -> None:
    if buildah("images", "--quiet", "--filter", f"reference={_BASE}"):
        return
    with tempfile.TemporaryDirectory(prefix="base-", dir=CACHE) as directory:
        root, archive = Path(directory) / "root", Path(directory) / "base.tar"
        _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root), _MIRROR)
        excluded = [f"--exclude={pattern}" for pattern in _NOT_SHIPPED]
        _run("tar", "-C", str(root), "-cf", str(archive), *excluded, ".")
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, str(archive), "/")
        buildah("commit", "--quiet", "--rm", container, _BASE)


def _forget_others() -> None:
    """Remove what killed test runs left mounted, and images of other states that are not in use."""
    for container in buildah("containers", "--format", "{{.ContainerName}}").splitlines():
        owner = container.removeprefix(_CONTAINER)
        if owner != container and not Path(f"/proc/{owner}").exists():
            _try_buildah("rm", container)
    for line in buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
        if line.startswith(f"{_NAME}:"):
            _try_buildah("rmi", line)


def _digest(arguments: Sequence[str]) -> str:
    """Of everything that an image is made of."""
    digest = hashlib.sha256("\0".join(arguments).encode())
    parts = ["Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "NOTICE"]
    sources = [PROJECT / part for part in parts]
    sources += sorted((PROJECT / "requirements").glob("*.txt"))
    shipped = (PROJECT / "src").rglob("*")
    sources += sorted(path for path in shipped if path.is_file() and not _UNSHIPPED.intersection(path.parts))
    for source in sources:
        digest.update(str(source.relative_to(PROJECT)).encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of the cache, so that two test runs do not build into each other."""
    CACHE.mkdir(parents=True, exist_ok=True)
    handle = os.open(CACHE, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    assert done.returncode == 0, f"{command[0]}: {(done.stdout + done.stderr)[-3000:]}"
