"""Checks of this machine: options, trusted and own certificates, open files, ports."""

import errno
import http.client
import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ff_proxy.aio.daemon_thread import in_daemon_thread
from ff_proxy.commands.doctor.findings import Reporter
from ff_proxy.config import checks
from ff_proxy.config.addresses import HostPort
from ff_proxy.config.settings import Settings
from ff_proxy.errors import ConfigError, StartupError
from ff_proxy.file_reading import read_regular_file
from ff_proxy.http.limits import possible_connections
from ff_proxy.http.tls import Tls, TlsFiles
from ff_proxy.model.clock import Clock
from ff_proxy.posix import UNLIMITED, open_file_limits
from ff_proxy.telemetry import null_telemetry
from ff_proxy.tls.certificates import RENEWAL_SECONDS, read_pem
from ff_proxy.tls.trust import client_trust
from ff_proxy.upstream.outbound_proxy import outbound_proxies

_DAY: Final = 86400.0
_FEW_CONNECTIONS: Final = 2000
_NO_CONNECTIONS: Final = 200
_PRIVILEGED: Final = 1024


async def check_options(settings: Settings, report: Reporter) -> None:
    """Everything that a start would refuse or warn about."""
    problems = checks.problems(settings)
    for problem in problems:
        report.problem(problem, "")
    for warning in checks.warnings(settings):
        report.warning(warning, "")
    if not problems:
        given = sum(settings.given(setting.option.flag) for setting in settings)
        report.ok(
            f"{checks.mode_of(settings).value} mode, {given} options are set (see ff-proxy print-config)"
        )


async def check_trust(environ: Mapping[str, str], report: Reporter) -> None:
    """The trusted certificates, and the outbound proxies."""
    try:
        trust = await in_daemon_thread(lambda: client_trust(environ), "check")
    except StartupError as error:
        report.problem(str(error), "name a file or directory of certificates in PEM form, or unset it")
    else:
        for unusable in trust.unusable:
            report.warning(f"SSL_CERT_DIR: {unusable}", "take that file out of the directory")
        count = trust.context.cert_store_stats()["x509_ca"]
        report.ok(f"{count} authorities are trusted" if count else "the system's authorities are trusted")
    try:
        warnings = outbound_proxies(environ)[1]
    except StartupError as error:
        report.problem(str(error), "")
        return
    for warning in warnings:
        report.warning(warning, "")


async def check_certificate(files: TlsFiles, clock: Clock, report: Reporter) -> None:
    """The certificate for SDKs: readable, with its key, and not about to expire."""

    def poll() -> None:
        try:
            Tls(files, clock, null_telemetry())
        except ConfigError as error:
            report.problem(str(error), "")
            return
        except StartupError as error:
            report.problem(str(error), "check tls-cert, tls-key and tls-client-ca, and who may read them")
            return
        shown = read_pem(read_regular_file(files.certificate))[0]
        left = shown.ends - clock.wall()
        end = datetime.fromtimestamp(shown.ends, UTC).date()
        text = f"certificate for {shown.subject} from {shown.issuer}"
        if not shown.good_at(clock.wall()):
            when = f"ended on {end}" if left < 0 else "is not valid yet"
            report.problem(f"{text} {when}: SDKs do not connect", "renew it, or check this machine's clock")
        elif left < RENEWAL_SECONDS:
            report.warning(
                f"{text} ends on {end}, in {left / _DAY:.0f} days", "renew it; new files are loaded at once"
            )
        else:
            report.ok(f"{text} until {end}")

    await in_daemon_thread(poll, "check")


async def check_file_limit(
    wanted: int | None, report: Reporter, limit: Callable[[], tuple[int, int]] | None = None
) -> None:
    """The limit of open files, one of which each connection needs. ``limit`` returns soft and hard limit."""
    _, hard = (limit or open_file_limits)()
    possible = possible_connections(hard)
    advice = "raise it: ulimit -n, LimitNOFILE= of systemd, or --ulimit nofile= of docker"
    if wanted and wanted > possible:
        report.problem(f"{hard} open files leave room for {possible} of max-connections {wanted}", advice)
    elif possible < _NO_CONNECTIONS:
        report.problem(f"{hard} open files leave room for {possible} connections only", advice)
    elif possible < _FEW_CONNECTIONS:
        report.warning(f"{hard} open files leave room for {possible} connections", advice)
    else:
        files = "any number of" if hard == UNLIMITED else hard
        report.ok(f"{files} open files, room for {possible} connections")


async def check_port(
    option: str, host: str | Path | None, port: int, serving: Callable[[], bool], report: Reporter
) -> None:
    """Whether the proxy can listen there, or already does; ``serving`` returns whether it runs."""

    def poll() -> None:
        where = f"unix:{host}" if isinstance(host, Path) else str(HostPort(host or "0.0.0.0", port))  # noqa: S104
        reason = _busy(host, port)
        if reason is None:
            report.ok(f"{where} is free")
        elif reason == errno.EADDRINUSE and serving():
            report.ok(f"the proxy that runs here listens on {where}")
        elif reason == errno.EADDRINUSE:
            report.problem(f"{where} is in use by another program", f"end that, or choose another {option}")
        elif reason in {errno.EACCES, errno.EPERM} and isinstance(host, Path):
            report.problem(
                f"{where} cannot be made by user id {os.getuid()}", "check owner and mode of its directory"
            )
        elif reason in {errno.EACCES, errno.EPERM}:
            report.problem(
                f"user id {os.getuid()} may not use port {port}", f"choose a {option} above {_PRIVILEGED}"
            )
        elif reason == errno.EADDRNOTAVAIL:
            report.problem(
                f"{host} is not an address of this machine", "set host to one that is, or leave it out"
            )
        else:
            report.problem(
                f"{where} cannot be listened on: {os.strerror(reason)}", f"choose another {option}"
            )

    await in_daemon_thread(poll, "check")


def _busy(host: str | Path | None, port: int) -> int | None:
    """The error number of trying to listen there; ``None`` if that works."""
    try:
        if isinstance(host, Path):
            return _busy_socket(host)
        family = socket.AF_INET6 if ":" in str(host) else socket.AF_INET
        with socket.create_server((host or "", port), family=family):
            return None
    except OSError as error:
        return error.errno or errno.EIO


def _busy_socket(path: Path) -> int | None:
    if not path.exists():
        return None if os.access(path.parent, os.W_OK | os.X_OK) else errno.EACCES
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return None  # left behind by a process that is gone
        except OSError as error:
            return error.errno
    return errno.EADDRINUSE


def answers(get: Callable[[str], tuple[int, str]]) -> Callable[[], bool]:
    """A function that returns whether our proxy runs, which it asks once; ``get`` requests a path from it."""
    known: list[bool] = []

    def ask() -> bool:
        if not known:
            try:
                status, body = get("/health")
                known.append(status == http.client.OK and "cacheStatus" in body)
            except (OSError, http.client.HTTPException):
                known.append(False)
        return known[0]

    return ask
