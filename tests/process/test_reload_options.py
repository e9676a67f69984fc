"""Every option there is, changed in a running proxy: in force at once, or said to need a restart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from ff_proxy.config.declare import Option, options_of
from ff_proxy.config.records import (
    ALL,
    ModeOptions,
    OfflineOptions,
    OnlineOptions,
    ReplicaOptions,
    RoleOptions,
)
from tests.support.certificates import make_certificate
from tests.support.reloaded_proxy import FORMS, IN_FORCE, RESTART, ReloadedProxy, reloaded_proxy
from tests.support.sdk_like import KEYS, eventually

_BY_KIND: Final = {
    "int": "3",
    "seconds": "7",
    "size": "1 GiB",
    "string": "another",
    "secret": "another-4f0c2b9e7d1a6538e2c7905bd3f8164a",
    "URL": "http://127.0.0.1:1/api",
    "path": "/another",
    "any text": "1",
    "auto|json|text": "json",
    "plain|escaped": "escaped",
    "off|errors|all": "all",
    "DEBUG|INFO|WARNING|ERROR": "WARNING",
    "on|off": "off",
}
"""Another value than the default of each type."""

_BY_FLAG: Final = {
    "api-keys": ",".join(KEYS.values()),
    "host": "127.0.0.1",
    "admin-address": "127.0.0.1:1",
    "cors-allowed-origins": "https://app.example",
    "trusted-proxies": "10.0.0.0/8",
    "environment-log-level": "somewhere=DEBUG",
    "redis-address": "127.0.0.1:2",
    "shutdown-deadline": "12",
}
_TOGETHER: Final = {
    "read-replica": {"offline": "false", "redis-address": "127.0.0.1:2"},
    "offline": {"read-replica": "false"},
    "generate-offline-config": {"read-replica": "false"},
}
"""What an option cannot do without."""

_UNCHANGEABLE: Final = frozenset({"env-file", "config"})
"""The options that name the files are not in one."""

_RECORDS: Final[Mapping[str, type[RoleOptions]]] = {
    "online": OnlineOptions,
    "offline": OfflineOptions,
    "replica": ReplicaOptions,
}


def another(option: Option[Any], here: ReloadedProxy, certificates: Mapping[str, str]) -> str:
    """A value that is not the one in force."""
    if option.kind.name == "bool":
        return "false" if present(option, here) == "true" else "true"
    known = {**_BY_FLAG, **certificates}
    return known.get(option.flag) or _BY_KIND[option.kind.name]


def present(option: Option[Any], here: ReloadedProxy) -> str:
    """The value that the proxy was started with, as it is shown."""
    given = here.base.get(option.flag)
    return option.shown_default if given is None else option.show(option.kind.parse(given))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("form", FORMS)
async def test_every_option_is_in_force_or_needs_a_restart(tmp_path: Path, form: str) -> None:
    """As docs/options.md says, and the settings page shows what is in force."""
    files = [make_certificate(tmp_path, name) for name in ("first", "second")]
    start, other = [{"tls-cert": str(one[0]), "tls-key": str(one[1])} for one in files]
    certificates = other | {"tls-client-ca": other["tls-cert"]}
    used = {one.flag for one in options_of(ModeOptions, _RECORDS[form.partition(" ")[0]])}
    async with reloaded_proxy(form, tmp_path, start | {"tls-enabled": "true"}) as here:
        for option in ALL:
            if option.flag in _UNCHANGEABLE | {"proxy-key"}:
                continue
            changes = {option.flag: another(option, here, certificates)}
            changes |= _TOGETHER.get(option.flag, {})
            if option.flag in other:
                changes |= other
            said = await here.signal(changes)
            changed = set(said[IN_FORCE]["options"]) if IN_FORCE in said else set()
            restart = set(said[RESTART]["options"]) if RESTART in said else set()
            if option.flag == "admin-token":
                here.token = changes[option.flag]
            if option.ignored or option.flag not in used:
                assert changed | restart == set()
            elif option.reloadable:
                assert (changed, restart) == (set(changes), set())
                await shown(here, option.flag, option.show(option.kind.parse(changes[option.flag])))
            else:
                assert option.flag in restart
                assert changed == set()
            await here.signal({})
            here.token = here.base["admin-token"]
            await shown(here, option.flag, present(option, here))
        said = await here.signal({"proxy-key": "a-key-of-version-2", "idle-timeout": "700"})
        assert set(said) == {"the options cannot be used as they are now, the present ones stay"}


async def shown(here: ReloadedProxy, flag: str, value: str) -> None:
    """Wait until the settings page shows this value."""

    async def is_shown() -> bool:
        answer = await here.admin("GET", "/api/settings")
        return answer.status_code == 200 and value in {
            row["value"] for row in answer.json() if row["flag"] == flag
        }

    await eventually(is_shown)
