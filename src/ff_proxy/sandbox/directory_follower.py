"""Applies edits of an offline directory to the running sandbox that was loaded from it."""

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, final

from ff_proxy.errors import OfflineDataError, RequestError
from ff_proxy.model.environment import Domain
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.directory import environments_in
from ff_proxy.sandbox.environment import Document, Environment
from ff_proxy.sandbox.running import RunningSandbox

Notices = Callable[[Path], AsyncIterator[object]]
"""Yields whenever something below a directory changed."""

_VERSION: Final = "version"


@final
class DirectoryFollower:
    """Applies edits of the directory, and announces them to the streams.

    Only entries that have changed since the last read are applied: a flag flipped by hand stays flipped until
    its own entry is edited. An unreadable file changes nothing.

    Args:
        root: the directory.
        notices: yields when something in it changes.
        tell: called with a line when the directory becomes unreadable, and when it is readable again.
        interval: seconds between reads without a notice, for file systems that give none.
    """

    def __init__(
        self, root: Path, notices: Notices, tell: Callable[[str], None], *, interval: float = 10.0
    ) -> None:
        self._root = root
        self._notices = notices
        self._tell = tell
        self._interval = interval
        self._last: Mapping[EnvironmentId, Environment] = {}
        self._problem = ""
        self._changed = asyncio.Event()

    def load(self) -> list[Environment]:
        """Read it for the first time; raises ``OfflineDataError``. Blocks."""
        environments = environments_in(self._root)
        self._last = _by_id(copy.deepcopy(environments))
        return environments

    async def run(self, sandbox: RunningSandbox) -> None:
        """Apply edits to ``sandbox`` until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval):
                        await self._changed.wait()
                self._changed.clear()
                await self.update(sandbox)

    async def update(self, sandbox: RunningSandbox) -> None:
        """Read the directory and apply what has changed."""
        try:
            environments = _by_id(await asyncio.to_thread(environments_in, self._root))
        except OfflineDataError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._tell(f"{error}; nothing changes until it can be read")
            return
        if self._problem:
            self._problem = ""
            self._tell(f"{self._root}: it can be read again")
        for environment_id in self._last.keys() - environments.keys():
            with contextlib.suppress(RequestError):  # removed by hand already
                sandbox.remove(environment_id)
        for environment_id, new in environments.items():
            last = self._last.get(environment_id)
            if last is None or last.info != new.info:
                sandbox.state.add(copy.deepcopy(new))
            elif environment_id in sandbox.state.environments:  # not removed by hand
                _take_up(sandbox, last, new)
        self._last = environments

    async def _watch(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # without notices, the interval must do
            async for _ in self._notices(self._root):
                self._changed.set()


def _by_id(environments: list[Environment]) -> dict[EnvironmentId, Environment]:
    return {environment.info.id: environment for environment in environments}


def _take_up(sandbox: RunningSandbox, last: Environment, new: Environment) -> None:
    environment = new.info.id
    for domain in Domain:
        before, after = _bare(last.items(domain)), _bare(new.items(domain))
        for identifier, document in after.items():
            if before.get(identifier) != document:
                sandbox.state.put(environment, domain, document)
        for identifier in before.keys() - after.keys():
            with contextlib.suppress(RequestError):  # deleted by hand already
                sandbox.state.drop(environment, domain, identifier)
    served = sandbox.state.find(environment)
    for identifier, target in new.targets.items():
        if last.targets.get(identifier) != target:
            served.put_target(target)
    for identifier in last.targets.keys() - new.targets.keys():
        served.targets.pop(identifier, None)
    known = {key.hash for key in last.keys}
    served.keys.extend(key for key in new.keys if key.hash not in known)
    for gone in known - {key.hash for key in new.keys}:
        with contextlib.suppress(RequestError):  # revoked by hand already
            sandbox.revoke(environment, gone)


def _bare(documents: Mapping[str, Document]) -> dict[str, dict[str, Any]]:
    """Without versions, which a directory need not maintain."""
    return {
        identifier: {field: value for field, value in document.items() if field != _VERSION}
        for identifier, document in documents.items()
    }
