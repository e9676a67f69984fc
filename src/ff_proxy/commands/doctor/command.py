"""``ff-proxy doctor``: chooses the checks for the options, and reports."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from ff_proxy import __version__
from ff_proxy.commands import local_proxy
from ff_proxy.commands.command_line import JsonOptions, read_as_in_container
from ff_proxy.commands.doctor.findings import Check, Finding, Outcome, Reporter, run_checks
from ff_proxy.commands.doctor.harness import AccountChecks, Identity, network_checks
from ff_proxy.commands.doctor.machine import (
    answers,
    check_certificate,
    check_file_limit,
    check_options,
    check_port,
    check_trust,
)
from ff_proxy.commands.doctor.stores import (
    check_data_directory,
    check_offline_directory,
    check_redis,
    check_target_directory,
)
from ff_proxy.commands.output import Terminal, standard_error, write_json, write_text
from ff_proxy.config import checks
from ff_proxy.config import value_types as kinds
from ff_proxy.config.addresses import HostPort
from ff_proxy.config.declare import Mode, build, option
from ff_proxy.config.records import RedisStoreOptions
from ff_proxy.config.settings import Settings
from ff_proxy.errors import ExitCode, StartupError
from ff_proxy.http.tls import TlsFiles
from ff_proxy.model.clock import Clock
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.event_loop import run_until_stopped
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import null_telemetry
from ff_proxy.tls.trust import client_trust
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.outbound_proxy import outbound_proxies
from ff_proxy.upstream.responses import Caller

_GREEN, _YELLOW, _RED, _GREY = 32, 33, 31, 90
_COLORS: Final[Mapping[Outcome, int]] = {
    Outcome.OK: _GREEN,
    Outcome.WARNING: _YELLOW,
    Outcome.PROBLEM: _RED,
    Outcome.SKIPPED: _GREY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions(JsonOptions):
    """The command's own options."""

    stream_seconds: float = option(
        kinds.seconds(1), 35.0, "Seconds that Harness' stream is listened to for a heartbeat"
    )


def run(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy doctor ARGV…``; ``None`` if help is requested.

    Raises ``ConfigError`` for invalid options of its own.
    """
    read = read_as_in_container(argv, environ, DoctorOptions)
    if read is None:
        return None
    options, settings = read
    return run_until_stopped(partial(_run, options, settings, out), unfinished=ExitCode.CRASH)


async def _run(options: DoctorOptions, settings: Settings, out: TextIO, _: Stop) -> ExitCode:
    progress = standard_error()
    terminal = Terminal(out)
    began = asyncio.get_running_loop().time()

    def show(finding: Finding) -> None:
        if not options.json:
            progress.clear()
            write_text(out, _line(finding, terminal))
            out.flush()

    def tell(done: int, waiting: Sequence[str]) -> None:
        seconds = asyncio.get_running_loop().time() - began
        progress.progress(f"{done} checks done, {seconds:.0f} s, waiting for: {', '.join(waiting)}")

    try:
        findings = await examine(settings, options.stream_seconds, SystemClock(), show, tell)
    finally:
        progress.clear()
    counts = Counter(finding.outcome for finding in findings)
    bad = counts[Outcome.PROBLEM]
    if options.json:
        write_json(
            out, {"ok": not bad, "counts": {o.value: counts[o] for o in Outcome}, "findings": findings}
        )
    else:
        write_text(
            out, ", ".join(_counted(counts[outcome], outcome) for outcome in Outcome if counts[outcome])
        )
    return ExitCode.CRASH if bad else ExitCode.OK


async def examine(
    settings: Settings,
    listen: float,
    clock: Clock,
    show: Callable[[Finding], None],
    progress: Callable[[int, Sequence[str]], None],
) -> list[Finding]:
    """Run the checks for these options; see ``run_checks``."""
    async with AsyncExitStack() as stack:
        return await run_checks(await _checks(settings, listen, clock, stack), show, progress)


def _line(finding: Finding, terminal: Terminal) -> str:
    mark = terminal.colored(f"{finding.outcome.value:<8}", _COLORS[finding.outcome])
    advice = f": {finding.advice}" if finding.advice else ""
    return f"{mark} {finding.check}: {finding.text}{advice}"


def _counted(count: int, outcome: Outcome) -> str:
    plural = "s" if count > 1 and outcome in {Outcome.PROBLEM, Outcome.WARNING} else ""
    return f"{count} {outcome.value}{plural}"


async def _checks(settings: Settings, listen: float, clock: Clock, stack: AsyncExitStack) -> list[Check]:
    """The checks for these options, in the order of the report."""
    mode = checks.mode_of(settings)
    serving = answers(partial(local_proxy.get, settings))
    found = [Check("options", partial(check_options, settings))]
    if mode in {Mode.ONLINE, Mode.GENERATE}:
        found.append(Check("certificates of others", partial(check_trust, settings.inputs.environ)))
        found += await _harness(settings, listen, clock, stack)
    found += _stores(settings, mode, serving)
    if mode is not Mode.GENERATE:
        found += _serving(settings, clock, serving)
    return found


async def _harness(settings: Settings, listen: float, clock: Clock, stack: AsyncExitStack) -> list[Check]:
    environ = settings.inputs.environ
    try:
        proxies, _ = outbound_proxies(environ)
        trust = client_trust(environ).context
        transport = await stack.enter_async_context(HttpTransport(f"ff-proxy/{__version__}", trust, proxies))
    except StartupError as error:
        reason = str(error)

        async def run(report: Reporter) -> None:
            report.problem(reason, "")

        return [Check("Harness", run)]
    metric = "metric-service"
    if not settings.given(metric) and settings.given("sdk-events-url"):
        metric = "sdk-events-url"
    urls = [(flag, settings[flag]) for flag in ("client-service", "sdk-base-url", metric, "admin-service")]
    caller = Caller(transport, null_telemetry())
    api = ClientApi(
        caller,
        client_service=settings["client-service"],
        base_url=settings["sdk-base-url"],
        metric_service=settings[metric],
        version=__version__,
    )
    account, organization = settings["account-identifier"] or "", settings["org-identifier"] or ""
    token = settings["admin-service-token"]
    admin = None
    if token is not None and account and organization:
        admin = AdminApi(
            caller,
            service=settings["admin-service"],
            token=token,
            account=account,
            organization=organization,
        )
    account_checks = AccountChecks(
        Identity(settings["api-keys"] or (), account),
        api,
        admin,
        stream=settings["flag-stream-enabled"],
        listen=listen,
    )
    return [*network_checks(urls, transport, proxies, clock.wall), *account_checks.checks()]


def _stores(settings: Settings, mode: Mode, serving: Callable[[], bool]) -> list[Check]:
    directory: Path = settings["config-dir"]
    if mode is Mode.GENERATE:
        return [Check("config-dir", partial(check_target_directory, directory))]
    found = []
    if mode is Mode.OFFLINE:
        found.append(Check("config-dir", partial(check_offline_directory, directory)))
    if settings["redis-address"] is not None:
        redis = build(RedisStoreOptions, settings)
        found.append(Check("redis", partial(check_redis, redis, settings["auth-secret"]), 60.0))
    elif settings["data-dir"] is not None:
        found.append(Check("data-dir", partial(check_data_directory, settings["data-dir"], serving)))
    return found


def _serving(settings: Settings, clock: Clock, serving: Callable[[], bool]) -> list[Check]:
    found = []
    certificate, key = settings["tls-cert"], settings["tls-key"]
    if settings["tls-enabled"] and certificate is not None and key is not None:
        files = TlsFiles(certificate, key, settings["tls-client-ca"])
        found.append(Check("tls-cert", partial(check_certificate, files, clock)))
    found.append(Check("open files", partial(check_file_limit, settings["max-connections"])))
    host: str | Path | None = settings["host"]
    if settings["port"] or isinstance(host, Path):
        name = "host" if isinstance(host, Path) else "port"
        found.append(Check(name, partial(check_port, name, host, settings["port"], serving)))
    if settings["prometheus-port"] and settings["prometheus-port"] != settings["port"]:
        prometheus = partial(check_port, "prometheus-port", None, settings["prometheus-port"], serving)
        found.append(Check("prometheus-port", prometheus))
    admin: HostPort | None = settings["admin-address"]
    if settings.given("admin-address") and admin is not None and admin.port:
        found.append(
            Check("admin-address", partial(check_port, "admin-address", admin.host, admin.port, serving))
        )
    return found
