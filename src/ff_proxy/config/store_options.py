"""Options about the store: memory, a SQLite file, or Redis."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ff_proxy.config import value_types as kinds
from ff_proxy.config.addresses import RedisAddress
from ff_proxy.config.declare import Values, one_of, option, required
from ff_proxy.config.sections import STORE
from ff_proxy.model.keys import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStoreOptions:
    """A store in memory that ends with the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryStoreOptions:
    """A SQLite file in a temporary directory, which several workers share and which ends with them.

    See spec/behaviour#combinations.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteStoreOptions:
    """A SQLite file in ``directory``, which survives restarts."""

    section: ClassVar[str] = STORE

    directory: Path = required(
        kinds.PATH,
        "Directory of the embedded store (SQLite); without it and Redis, everything is in memory only",
        name="data-dir",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStoreOptions:
    """A Redis that the members of a fleet share; ``prefix`` starts every key."""

    section: ClassVar[str] = STORE

    address: RedisAddress = required(
        kinds.REDIS_ADDRESS,
        "Redis for all data: host:port, redis://, rediss:// (TLS), unix://;"
        " several separated by commas: Cluster; redis+sentinel://host1,host2/service",
        name="redis-address",
    )
    own_username: str = option(
        kinds.TEXT, "", "Redis user; overrides that of redis-address", name="redis-username"
    )
    own_password: Secret | None = option(
        kinds.SECRET, None, "Redis password; overrides that of redis-address", name="redis-password"
    )
    own_database: int | None = option(
        kinds.whole_number(0, 2**31 - 1),
        None,
        "Redis database; overrides that of redis-address; 0 if neither sets it",
        name="redis-db",
    )
    prefix: str = option(
        kinds.PREFIX,
        "ffp",
        "Prefix of every Redis key, so that several fleets can share one Redis",
        name="redis-prefix",
    )

    @property
    def username(self) -> str:
        """The effective user; empty if none."""
        return self.own_username or self.address.username

    @property
    def password(self) -> Secret | None:
        """The effective password."""
        return self.own_password or self.address.password

    @property
    def database(self) -> int:
        """The effective database."""
        return self.address.database or 0 if self.own_database is None else self.own_database


StoreOptions = MemoryStoreOptions | TemporaryStoreOptions | SqliteStoreOptions | RedisStoreOptions


def _store(values: Values) -> type[StoreOptions]:
    if values["redis-address"] is not None:
        return RedisStoreOptions
    if values["data-dir"] is not None:
        return SqliteStoreOptions
    return TemporaryStoreOptions if values["workers"] > 1 else MemoryStoreOptions


def any_store() -> StoreOptions:
    """A field with the record of the chosen store."""
    made: StoreOptions = one_of(_store, SqliteStoreOptions, RedisStoreOptions, default=MemoryStoreOptions)
    return made
