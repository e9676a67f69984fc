"""TLS for SDKs according to the options, at the start and when they change."""

from collections.abc import Callable, Collection
from typing import Final

from ff_proxy.app.options_reload import TLS_FLAGS, Apply, Check, OptionsReload
from ff_proxy.config.records import GenerateOptions, RoleOptions, ServingOptions, TlsOptions
from ff_proxy.errors import ConfigError
from ff_proxy.http.tls import Tls, TlsFiles, load_tls
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

_ENABLED: Final = "tls-enabled"


def tls_files(options: TlsOptions | None) -> TlsFiles | None:
    """The files that the options name; ``None`` without TLS."""
    return None if options is None else TlsFiles(options.certificate, options.key, options.client_ca)


def tls_in_force(options: ServingOptions, reload: OptionsReload | None) -> TlsFiles | None:
    """The files for a process that starts with ``options``, or those that a reload has put in their place.

    The files of the start may no longer exist.
    """
    if reload is None:
        return tls_files(options.tls)
    values = reload.in_force
    return TlsFiles(*(values[flag] for flag in TLS_FLAGS)) if values[_ENABLED] else None


def make_tls(files: TlsFiles | None, clock: Clock, telemetry: Telemetry) -> Tls | None:
    """TLS with these files; raises ``StartupError`` or ``ConfigError``."""
    return None if files is None else Tls(files, clock, telemetry)


def tls_changes(present: ServingOptions, use: Callable[[TlsFiles], object] = lambda _: None) -> Apply:
    """Call ``use`` with changed files; by default nothing is called, because other processes use them.

    A port opened with TLS keeps TLS, and one without it stays without, until a restart.
    """

    def apply(changed: RoleOptions) -> Collection[str]:
        files = _files_of(changed)
        if present.tls is None or files is None:
            return TLS_FLAGS
        use(files)
        return ()

    return apply


def check_tls(clock: Clock) -> Check:
    """Refuse options whose TLS files cannot be used; if other files are named, also check their dates.

    A certificate that expires while it is in use must not prevent changes of other options.
    """

    def check(changed: RoleOptions, different: Collection[str]) -> None:
        files = _files_of(changed)
        if files is None:
            return
        loaded = load_tls(files)
        if not {_ENABLED, *TLS_FLAGS}.isdisjoint(different) and (why := loaded.trouble(clock.wall())):
            raise ConfigError(why)

    return check


def _files_of(options: RoleOptions) -> TlsFiles | None:
    return None if isinstance(options, GenerateOptions) else tls_files(options.serving.tls)
