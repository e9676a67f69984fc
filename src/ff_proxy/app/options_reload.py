"""The options while the proxy runs: reading them again, and who can read the files that they come from."""

import stat
from pathlib import Path

from ff_proxy.admin.ports import ReloadResult
from ff_proxy.config.load import Loaded, reload
from ff_proxy.errors import ConfigError
from ff_proxy.telemetry import Logger

_GENERAL = frozenset({"env-file", "config"})


class OptionsReload:
    """Reads the sources of ``loaded`` again when called, and tells ``log`` what has changed in them.

    Attributes:
        loaded: the options in force.
    """

    def __init__(self, loaded: Loaded, log: Logger) -> None:
        self.loaded = loaded
        self._log = log

    def __call__(self) -> ReloadResult:
        """Never raises for what is in the files: the present options stay in force."""
        try:
            again = reload(self.loaded)
        except ConfigError as error:
            self._log.error(
                "the options cannot be used as they are now, the present ones stay",
                problems=list(error.problems),
            )
            return ReloadResult(problems=error.problems)
        if changed := [*again.changed, *again.restart]:
            self._log.warning("options have changed, a restart takes them up", options=changed)
        else:
            self._log.info("options have not changed")
        return ReloadResult(restart=tuple(changed))


def start_warnings(loaded: Loaded) -> tuple[str, ...]:
    """What the options have to say, and which files with secrets every user can read."""
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
        return False  # it was there a moment ago, and is read anew when it changes
