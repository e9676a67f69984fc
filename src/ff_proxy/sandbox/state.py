"""The sandbox's environments, which form one account, and listeners to their changes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Change, Domain
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.keys import Key

Listener = Callable[[EnvironmentId, Change], None]
"""Called after a change, so that whoever is notified finds the new document."""

DEFAULT_ACCOUNT: Final = "sandbox_account"
DEFAULT_ORGANIZATION: Final = "default"
DEFAULT_ADMIN_TOKEN: Final = "sandbox-admin-token"  # noqa: S105  (a sandbox has no secrets)


class Settings(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What may be changed while the sandbox runs.

    ``page_size_limit`` caps the pages of the admin API whatever a client asks for; ``usage_body_limit``
    (bytes) is where a usage post becomes too large, 413; ``heartbeat_seconds`` is the pause after which
    an idle stream gets a heartbeat.
    """

    page_size_limit: Annotated[int, msgspec.Meta(ge=1)] = 100
    usage_body_limit: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024 * 1024
    heartbeat_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0


class SandboxState:
    """All environments of the sandbox's account; independent of sockets and event loops.

    Args:
        environments: what is served, in the order in which it is listed.
        account: the account identifier, as tokens and the admin API carry it.
        admin_token: what the admin API takes as ``x-api-key``.
    """

    def __init__(
        self,
        environments: Iterable[Environment],
        *,
        account: str = DEFAULT_ACCOUNT,
        admin_token: str = DEFAULT_ADMIN_TOKEN,
    ) -> None:
        self.account: Final = account
        self.admin_token = admin_token
        self.settings: Final = Settings()
        self._environments: dict[EnvironmentId, Environment] = {}
        self._listeners: list[Listener] = []
        for environment in environments:
            self.add(environment)

    @property
    def environments(self) -> Mapping[EnvironmentId, Environment]:
        """Every environment by its id."""
        return self._environments

    def add(self, environment: Environment) -> None:
        """Serve ``environment``, in place of one with the same id if there is one."""
        self._environments[environment.info.id] = environment

    def remove(self, name: str) -> Environment:
        """Remove an environment; ``RequestError`` 404 if it is unknown."""
        return self._environments.pop(self.find(name).info.id)

    def find(self, name: str) -> Environment:
        """The environment with that id, else with that identifier; ``RequestError`` 404 if there is none."""
        found = self._environments.get(EnvironmentId(name))
        if found is not None:
            return found
        for environment in self._environments.values():
            if environment.info.identifier == name:
                return environment
        raise RequestError(404, f"environment {name!r} does not exist")

    def with_flag(self, flag: str) -> Environment:
        """The first environment that has ``flag``; ``RequestError`` 404 if none has."""
        for environment in self._environments.values():
            if flag in environment.flags:
                return environment
        raise RequestError(404, f"flag {flag!r} does not exist in any environment")

    def authenticate(self, key: str) -> tuple[Environment, Key] | None:
        """The environment and key for an SDK key; compared by hash, since some texts are unknown."""
        wanted = hash_key(key)
        for environment in self._environments.values():
            for known in environment.keys:
                if known.hash == wanted:
                    return environment, known
        return None

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` after every announced change; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def put(self, name: str, domain: Domain, document: Mapping[str, Any], *, announce: bool = True) -> Change:
        """Create or replace a flag or segment; ``announce=False`` does not tell the streams."""
        environment = self.find(name)
        return self._made(environment, environment.put(domain, document), announce=announce)

    def drop(self, name: str, domain: Domain, identifier: str, *, announce: bool = True) -> Change:
        """Delete a flag or segment."""
        environment = self.find(name)
        return self._made(environment, environment.drop(domain, identifier), announce=announce)

    def flip(
        self,
        name: str,
        flag: str,
        *,
        state: Literal["on", "off"] | None = None,
        serve: str = "",
        announce: bool = True,
    ) -> Change:
        """Turn a flag on or off or change what it serves, as ``Environment.flip``."""
        environment = self.find(name)
        return self._made(environment, environment.flip(flag, state=state, serve=serve), announce=announce)

    def set(self, name: str, flag: str, value: str, *, announce: bool = True) -> Change:
        """Set a flag to ``value``, as ``Environment.set``."""
        environment = self.find(name)
        return self._made(environment, environment.set(flag, value), announce=announce)

    def _made(self, environment: Environment, change: Change, *, announce: bool) -> Change:
        if announce:
            for listener in tuple(self._listeners):
                listener(environment.info.id, change)
        return change
