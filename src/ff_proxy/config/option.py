"""What an option is: its names, its type, its default, and what it means."""

from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

from ff_proxy.config.kinds import Kind

T = TypeVar("T")


class Mode(Enum):
    """What the process does (PRODUCT §1); the sandbox has options of its own."""

    ONLINE = "online"
    OFFLINE = "offline"
    GENERATE = "generate"
    REPLICA = "replica"


CONNECTED: Final = frozenset({Mode.ONLINE, Mode.GENERATE})
"""The modes that talk to Harness SaaS."""


class Standing(Enum):
    """What becomes of an option that is given."""

    USED = "used"
    IGNORED = "ignored"
    """Accepted because the Go proxy has it; it has no meaning here."""
    LATER = "later"
    """Accepted because it will have a meaning; not built yet."""


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """One thing that can be configured. ``meaning`` is a sentence for people, without its final stop."""

    flag: str
    group: str
    kind: Kind[T]
    default: T
    meaning: str
    _: KW_ONLY
    required: frozenset[Mode] = frozenset()
    aliases: tuple[str, ...] = ()
    variable: str = ""
    standing: Standing = Standing.USED
    in_files: bool = True
    """Whether ``.env`` and TOML files may hold it: those that name such files cannot be in one."""

    @property
    def env(self) -> str:
        """The name of its environment variable."""
        return self.variable or self.flag.upper().replace("-", "_")

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it has as a flag."""
        return (self.flag, *self.aliases)

    @property
    def is_boolean(self) -> bool:
        """Whether its flag needs no value."""
        return isinstance(self.default, bool)

    @property
    def shown_default(self) -> str:
        """The default as the listing shows it; empty if there is none."""
        return self.kind.show(self.default)
