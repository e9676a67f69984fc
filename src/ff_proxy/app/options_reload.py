"""Reloading the options while the proxy runs, and warnings about the files that they come from."""

import asyncio
import stat
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ff_proxy.admin.ports import ReloadResult
from ff_proxy.config.load import Loaded, reload
from ff_proxy.config.records import OnlineOptions, RoleOptions, UpstreamOptions
from ff_proxy.errors import ConfigError
from ff_proxy.telemetry import Logger

LOG_FLAGS: Final = ("log-level", "environment-log-level", "debug")
SERVING_FLAGS: Final = (
    *("cors-allowed-origins", "max-connections", "max-body-size", "idle-timeout"),
    *("access-log", "auth-rate-limit", "trusted-proxies"),
)
TLS_FLAGS: Final = ("tls-cert", "tls-key", "tls-client-ca")
KEY_FLAGS: Final = ("api-keys",)
SERVICE_TOKEN_FLAGS: Final = ("admin-service-token",)
ADMIN_FLAGS: Final = ("admin-token",)
APPLIED: Final = (*LOG_FLAGS, *SERVING_FLAGS, *TLS_FLAGS, *KEY_FLAGS, *SERVICE_TOKEN_FLAGS, *ADMIN_FLAGS)
"""Every option of which some process applies a new value without a restart."""

_GENERAL = frozenset({"env-file", "config"})

Apply = Callable[[RoleOptions], Collection[str]]
"""Applies new options, in any thread; returns the flags of those that need a restart all the same."""

Check = Callable[[RoleOptions, Collection[str]], object]
"""Raises ``ConfigError`` if the options cannot be applied; those with these flags have changed."""


def in_other_processes(_: RoleOptions) -> Collection[str]:
    """Other processes of this proxy apply these options: each reads them for itself."""
    return ()


def upstream_changes(use: Callable[[UpstreamOptions], object]) -> Apply:
    """Call ``use`` with the new options about Harness, in the running event loop."""
    loop = asyncio.get_running_loop()

    def apply(changed: RoleOptions) -> Collection[str]:
        assert isinstance(changed, OnlineOptions)  # noqa: S101  (the role never changes)
        loop.call_soon_threadsafe(use, changed.upstream)
        return ()

    return apply


class OptionsReload:
    """Reads the sources of ``loaded`` again when called, and applies what has changed.

    Args:
        loaded: the options read at the start.
        log: gets a line about what has changed.
        checks: find problems beyond those of the sources; one that fails refuses all changes.

    Attributes:
        loaded: the options read last. Its report has the values in force: an option that needs a restart
            keeps its value from the start.
    """

    def __init__(self, loaded: Loaded, log: Logger, checks: Sequence[Check] = ()) -> None:
        self.loaded = loaded
        self._log = log
        self._checks = checks
        self._reloaded = False
        self._lock = threading.Lock()
        self._applied: list[tuple[frozenset[str], Apply]] = []

    def add(self, flags: Collection[str], apply: Apply) -> None:
        """Call ``apply`` when options with ``flags`` change, and now if any have changed since the start."""
        self._applied.append((frozenset(flags), apply))
        if self._reloaded:
            apply(self.loaded.options)

    def for_child(self, log: Logger) -> "OptionsReload":
        """The same for another process, which begins with the options of the start."""
        child = OptionsReload(self.loaded, log, self._checks)
        child._reloaded = self._reloaded
        return child

    @property
    def in_force(self) -> Mapping[str, Any]:
        """The value in force of every option, by its flag."""
        return {one.option.flag: one.value for one in self.loaded.report}

    def __call__(self) -> ReloadResult:
        """Reload; problems in the files are returned, not raised, and then nothing is changed."""
        with self._lock:
            return self._reload()

    def _reload(self) -> ReloadResult:
        try:
            loaded, different = reload(self.loaded)
            for check in self._checks:
                check(loaded.options, different)
        except ConfigError as error:
            self._log.error(
                "the options cannot be used as they are now, the present ones stay",
                problems=list(error.problems),
            )
            return ReloadResult(problems=error.problems)
        if not different:
            self._log.info("options have not changed")
            return ReloadResult()
        restart = self._apply(loaded.options, different)
        self._keep(loaded, restart)
        applied = different.difference(restart)
        result = ReloadResult(changed=tuple(sorted(applied)), restart=tuple(sorted(restart)))
        self._log_result(result)
        return result

    def _apply(self, options: RoleOptions, different: frozenset[str]) -> Collection[str]:
        """Apply new options; returns the flags of those that need a restart."""
        if type(options) is not type(self.loaded.options):
            return different  # another mode: everything needs a restart
        restart = set(different.difference(*(flags for flags, _ in self._applied)))
        for flags, apply in self._applied:
            if not flags.isdisjoint(different):
                restart.update(set(apply(options)).intersection(different))
        return restart

    def _keep(self, loaded: Loaded, restart: Collection[str]) -> None:
        before = {setting.option.flag: setting for setting in self.loaded.report}
        report = tuple(
            before[setting.option.flag] if setting.option.flag in restart else setting
            for setting in loaded.report
        )
        same_mode = type(loaded.options) is type(self.loaded.options)
        self._reloaded |= same_mode
        options = loaded.options if same_mode else self.loaded.options
        self.loaded = replace(loaded, options=options, report=report)

    def _log_result(self, result: ReloadResult) -> None:
        if result.changed:
            values = {one.option.flag: one.masked for one in self.loaded.report}
            changed = {flag: values[flag] for flag in result.changed}
            self._log.warning("options have changed and are in force", options=changed)
        if result.restart:
            self._log.warning("options have changed, a restart takes them up", options=list(result.restart))


def start_warnings(loaded: Loaded) -> tuple[str, ...]:
    """Warnings about the options, and about files with secrets that every user can read."""
    general = {setting.value for setting in loaded.report if setting.option.flag in _GENERAL}
    secret = [path for path in loaded.files if path not in general and _open_to_all(path)]
    return (
        *loaded.warnings,
        *(f"{path} holds a secret and every user can read it: take that right away" for path in secret),
    )


def _open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # it was there a moment ago, and will be read again
