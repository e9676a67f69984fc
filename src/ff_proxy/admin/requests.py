"""Reads request bodies and parameters, within limits."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from ff_proxy.errors import RequestError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import Snapshot

_LONGEST_FORM: Final = 64 * 1024
_MOST_FIELDS: Final = 32


async def read_body(request: Request) -> bytes:
    """The body of a request; raises ``RequestError`` 413."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            raise RequestError(413, f"the body must not be longer than {_LONGEST_FORM} bytes")
    return bytes(body)


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form; raises ``RequestError`` 400 or 413."""
    try:
        text = (await read_body(request)).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise RequestError(400, f"this is not a form: {error}") from error


def find_environment(snapshots: SnapshotRegistry, named: str) -> Snapshot:
    """The environment with this id, else the one with this identifier.

    Without a name, the only environment. Raises ``RequestError`` 400 or 404.
    """
    held = snapshots.all()
    if (snapshot := snapshots.get(EnvironmentId(named))) is not None:
        return snapshot
    found = [one for one in held.values() if not named or one.info.identifier == named]
    if len(found) == 1:
        return found[0]
    if named and not found:
        raise RequestError(404, f"environment {named!r} is not loaded")
    if not found:
        raise RequestError(404, "no environment is loaded yet")
    names = ", ".join(sorted(f"{one.environment} ({one.info.identifier})" for one in found[:20]))
    raise RequestError(400, f"environment: name one of these by its id: {names}")
