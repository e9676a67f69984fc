"""Environments to measure with, as the proxy's rooms know them and as a directory that servers can read."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.generate import Doc, environment
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.model.target import Target
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.offline.writer import write_directory
from ff_proxy.wire.normalise import normalise_flag, normalise_segment


@dataclass(frozen=True, slots=True)
class Made:
    """A made-up environment of ``flags`` flags with ``rules`` rules each, and the text of its server key."""

    name: str
    flags: int
    rules: int = 1
    segments: int = 20

    @property
    def id(self) -> EnvironmentId:
        """An id made of the name."""
        return EnvironmentId(f"0f5b6c1e-9f6b-4d6e-8a53-{sum(map(ord, self.name)):06}{self.flags:06}")

    @property
    def key(self) -> str:
        """The server key; servers know its hash."""
        return f"bench-{self.name}-key"

    def docs(self) -> Doc:
        """Flags, segments and targets in the wire's form."""
        return environment(flags=self.flags, rules=self.rules, segments=self.segments)

    def switch(self) -> str:
        """A boolean flag that gives a target without attributes what it serves by default."""
        return next(
            str(flag["feature"])
            for flag in self.docs()["flags"]
            if flag["kind"] == "boolean" and flag["state"] == "on" and "prerequisites" not in flag
        )

    def config(self) -> EnvironmentConfig:
        """The environment as a record of the proxy."""
        doc = self.docs()
        flags = [item for flag in doc["flags"] if isinstance(item := normalise_flag(flag), Item)]
        segments = [item for one in doc["segments"] if isinstance(item := normalise_segment(one), Item)]
        return EnvironmentConfig(
            EnvironmentInfo(self.id, self.name),
            {item.identifier: item for item in flags},
            {item.identifier: item for item in segments},
            frozenset([hash_key(self.key)]),
        )


def write_offline(directory: Path, environments: Sequence[Made]) -> None:
    """An offline directory with these environments, for proxies and for the sandbox."""
    target = Target("user-1", "User 1")
    write_directory(
        directory, [OfflineEnvironment(made.config(), (target,)) for made in environments], time.time()
    )
