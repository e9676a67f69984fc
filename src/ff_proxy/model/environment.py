"""An environment's whole configuration as the store keeps it, and what can happen to it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from ff_proxy.model.keys import EnvironmentId, SdkKeyHash


class Domain(StrEnum):
    """The two kinds of item that SDKs fetch and are told about; the values are the wire's."""

    FLAG = "flag"
    SEGMENT = "target-segment"


class Action(StrEnum):
    """What happened to an item; the values are the wire's."""

    CREATE = "create"
    PATCH = "patch"
    DELETE = "delete"


class Change(msgspec.Struct, frozen=True):
    """One item changed; ``version`` is the version an SDK will find when it fetches the item."""

    action: Action
    domain: Domain
    identifier: str
    version: int


class Item(msgspec.Struct, frozen=True):
    """A flag or a segment as it travels: normalised JSON, ready for SDKs (spec/sdk-wire#bodies).

    ``wire`` is one JSON object in UTF-8 that carries ``version``; a segment's holds both rule forms.
    ``digest`` identifies the content without the version: equal digests mean nothing changed.
    """

    domain: Domain
    identifier: str
    version: int
    wire: bytes
    digest: str


class Revision(msgspec.Struct, frozen=True):
    """A state of an environment in a store. Compared for (in)equality only: ``epoch`` is the store's life."""

    epoch: str
    counter: int


NEVER: Final = Revision("", 0)
"""The revision of an environment that no store has taken in yet."""


class RecentChange(msgspec.Struct, frozen=True):
    """A change and the wall-clock second at which the store took it in."""

    at: float
    change: Change


class EnvironmentInfo(msgspec.Struct, frozen=True):
    """An environment as Harness's tokens describe it; unknown texts are empty."""

    id: EnvironmentId
    identifier: str = ""
    project: str = ""
    project_identifier: str = ""
    organization: str = ""
    organization_identifier: str = ""
    account: str = ""
    cluster: str = "1"


class EnvironmentConfig(msgspec.Struct, frozen=True):
    """Everything of one environment that its snapshot is compiled from.

    ``flags`` and ``segments`` are keyed by identifier. ``retired`` remembers the last version of items
    that are gone, so that a re-created one starts above it: no SDK accepts a version that falls.
    ``since`` (wall-clock seconds) is when the store first took the environment in.
    """

    info: EnvironmentInfo
    flags: Mapping[str, Item]
    segments: Mapping[str, Item]
    keys: frozenset[SdkKeyHash]
    revision: Revision = NEVER
    retired: Mapping[str, int] = {}
    since: float = 0.0

    @property
    def id(self) -> EnvironmentId:
        """The environment's id."""
        return self.info.id

    def items(self, domain: Domain) -> Mapping[str, Item]:
        """The flags, or the segments."""
        return self.flags if domain is Domain.FLAG else self.segments


class StreamState(StrEnum):
    """The upstream stream of an environment, in the words of v1's ``/health``."""

    INITIALIZING = "INITIALIZING"
    CONNECTED = "CONNECTED"
    DISCONNECTED = "DISCONNECTED"


class UpstreamStatus(msgspec.Struct, frozen=True):
    """The state of an environment's stream from Harness, ``since`` when (epoch milliseconds).

    ``refused``: Harness definitely refuses its keys. ``detail`` and ``trouble`` are for people; ``trouble``
    says what keeps the environment from being in step, if anything does. ``confirmed`` is when it was last
    known to be in step, in epoch milliseconds; 0 if it has not been since a start.
    """

    state: StreamState = StreamState.INITIALIZING
    since: int = 0
    refused: bool = False
    detail: str = ""
    trouble: str = ""
    confirmed: int = 0

    @property
    def in_step(self) -> bool:
        """Whether the environment is as Harness has it: changes arrive, and nothing is missing."""
        return self.state is StreamState.CONNECTED and not self.trouble

    def data_age(self, now: float) -> float:
        """Seconds since the environment was last in step; ``now`` is in epoch seconds."""
        if self.in_step:
            return 0.0
        return max(0.0, now - (self.confirmed or self.since) / 1000)
