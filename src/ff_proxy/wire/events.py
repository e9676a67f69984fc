"""SSE events about flags and segments: reading Harness's, writing those for SDKs (spec/sdk-wire#streams).

SDKs parse these bytes by column, by line and by chunk. The one form that all of them can read is written here
and nowhere else.
"""

import json
from enum import Enum
from typing import Final

import msgspec

from ff_proxy.model.environment import Action, Change, Domain

HEARTBEAT: Final = b":\n\n"
"""The keep-alive record: an empty comment, the only form that resets the Go SDK's timer."""

_INT32_MIN: Final = -(2**31)
_INT32_MAX: Final = 2**31 - 1

_DOMAINS: Final = {domain.value: domain for domain in Domain}
_ACTIONS: Final = {action.value: action for action in Action}


class UnusableEvent(Enum):
    """Why an event's data is not a change."""

    FOREIGN = "foreign"
    """Well-formed, but about something other than a flag or a segment."""

    MALFORMED = "malformed"
    """Not what the API promises: something unknown may have changed."""


def read_event(data: str | bytes) -> Change | UnusableEvent:
    """Parse an event's ``data`` into the change it announces.

    An unknown action on a known item counts as a patch, so the item is fetched, as in the Go SDK. A missing
    or unusable version is 0.
    """
    try:
        message = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UnusableEvent.MALFORMED
    if not isinstance(message, dict):
        return UnusableEvent.MALFORMED
    domain = message.get("domain")
    if not isinstance(domain, str):
        return UnusableEvent.MALFORMED
    if domain not in _DOMAINS:
        return UnusableEvent.FOREIGN
    identifier = message.get("identifier")
    if not isinstance(identifier, str) or not identifier:
        return UnusableEvent.MALFORMED
    action = message.get("event")
    version = message.get("version")
    return Change(
        action=_ACTIONS.get(action, Action.PATCH) if isinstance(action, str) else Action.PATCH,
        domain=_DOMAINS[domain],
        identifier=identifier,
        version=version if isinstance(version, int) and not isinstance(version, bool) else 0,
    )


def event_record(change: Change) -> bytes:
    """Encode one SSE record for SDKs: always ASCII, with the version clamped to a signed 32-bit integer."""
    payload = {
        "event": change.action.value,
        "domain": change.domain.value,
        "identifier": change.identifier,
        "version": min(max(change.version, _INT32_MIN), _INT32_MAX),
    }
    text = json.dumps(payload, ensure_ascii=True, separators=(",", ":"))
    return f"event: *\ndata: {text}\n\n".encode("ascii")
