"""TLS for SDKs as the options want it, at the start and when they change."""

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
    """The files that the options name, if they want TLS."""
    return None if options is None else TlsFiles(options.certificate, options.key, options.client_ca)


def tls_in_force(options: ServingOptions, reload: OptionsReload | None) -> TlsFiles | None:
    """The files for a process that starts with ``options``, of which ``reload`` may have changed some.

    Those of the start may be gone since.
    """
    if reload is None:
        return tls_files(options.tls)
    values = reload.in_force
    return TlsFiles(*(values[flag] for flag in TLS_FLAGS)) if values[_ENABLED] else None


def make_tls(files: TlsFiles | None, clock: Clock, telemetry: Telemetry) -> Tls | None:
    """TLS with these files; raises ``StartupError`` or ``ConfigError``."""
    return None if files is None else Tls(files, clock, telemetry)


def tls_changes(present: ServingOptions, use: Callable[[TlsFiles], object] = lambda _: None) -> Apply:
    """Have ``use`` take up other files; by default other processes do.

    A port that was opened without TLS stays without, and one with TLS stays with it.
    """

    def apply(changed: RoleOptions) -> Collection[str]:
        files = _files_of(changed)
        if present.tls is None or files is None:
            return TLS_FLAGS
        use(files)
        return ()

    return apply


def check_tls(clock: Clock) -> Check:
    """Refuse options whose TLS files cannot be used; if they name others than before, also by their dates.

    A certificate that ends while it is in force must not keep other options from being changed.
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
