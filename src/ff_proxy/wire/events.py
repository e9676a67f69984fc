"""SSE events about flags and segments: reading those of SaaS, writing those for SDKs (spec/sdk-wire#streams).

SDKs take the written bytes apart by column, by line and by chunk: the one form that all of them read
is made here and nowhere else.
"""

import json
from enum import Enum
from typing import Final

import msgspec

from ff_proxy.model.environment import Action, Change, Domain

HEARTBEAT: Final = b":\n\n"
"""The record that only says the stream lives: an empty comment, the one form the Go SDK counts."""

_INT32_MIN: Final = -(2**31)
_INT32_MAX: Final = 2**31 - 1

_DOMAINS: Final = {domain.value: domain for domain in Domain}
_ACTIONS: Final = {action.value: action for action in Action}


class Unread(Enum):
    """Why an event's data did not become a change."""

    FOREIGN = "foreign"
    """Well-formed, but about something other than a flag or a segment."""

    MALFORMED = "malformed"
    """Not what the API promises: something may have changed that we do not know of."""


def read_event(data: str | bytes) -> Change | Unread:
    """The change that an event's ``data`` speaks of.

    An unknown action on a known item counts as a patch, so that the item is fetched (as the Go SDK does);
    a missing or unusable version is 0.
    """
    try:
        message = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Unread.MALFORMED
    if not isinstance(message, dict):
        return Unread.MALFORMED
    domain = message.get("domain")
    if not isinstance(domain, str):
        return Unread.MALFORMED
    if domain not in _DOMAINS:
        return Unread.FOREIGN
    identifier = message.get("identifier")
    if not isinstance(identifier, str) or not identifier:
        return Unread.MALFORMED
    action = message.get("event")
    version = message.get("version")
    return Change(
        action=_ACTIONS.get(action, Action.PATCH) if isinstance(action, str) else Action.PATCH,
        domain=_DOMAINS[domain],
        identifier=identifier,
        version=version if isinstance(version, int) and not isinstance(version, bool) else 0,
    )


def event_record(change: Change) -> bytes:
    """One SSE record for SDKs: ASCII whatever the identifier, the version within a signed 32-bit integer."""
    payload = {
        "event": change.action.value,
        "domain": change.domain.value,
        "identifier": change.identifier,
        "version": min(max(change.version, _INT32_MIN), _INT32_MAX),
    }
    text = json.dumps(payload, ensure_ascii=True, separators=(",", ":"))
    return f"event: *\ndata: {text}\n\n".encode("ascii")
