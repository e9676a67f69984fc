"""Makers of environments as SaaS would describe them."""

from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.memory import MemoryStore
from ff_proxy.wire.normalise import Rejected, normalise_flag, normalise_segment

ENVIRONMENT = EnvironmentId("3ad4b1c8-31b7-4f5e-9a36-6b0f8f3c1f00")
KEY = "b2a1e8f0-server-key"


def flag(identifier: str = "checkout", *, on: bool = True, version: int = 1, **fields: object) -> Item:
    """A boolean flag; ``fields`` replace wire fields."""
    doc: dict[str, object] = {
        "feature": identifier,
        "project": "shop",
        "environment": "production",
        "kind": "boolean",
        "state": "on" if on else "off",
        "variations": [{"identifier": "true", "value": "true"}, {"identifier": "false", "value": "false"}],
        "defaultServe": {"variation": "true"},
        "offVariation": "false",
        "version": version,
    }
    return accepted(normalise_flag(doc | fields))


def segment(identifier: str = "beta", *, version: int = 1, **fields: object) -> Item:
    """An empty segment; ``fields`` replace wire fields."""
    return accepted(
        normalise_segment({"identifier": identifier, "name": identifier, "version": version} | fields)
    )


def accepted(item: Item | Rejected) -> Item:
    """The item; a rejected one fails the test."""
    assert isinstance(item, Item), item
    return item


def config(
    *items: Item, environment: EnvironmentId = ENVIRONMENT, keys: tuple[str, ...] = (KEY,)
) -> EnvironmentConfig:
    """An environment that holds ``items``."""
    return EnvironmentConfig(
        info=EnvironmentInfo(environment, identifier="production", project_identifier="shop", account="acme"),
        flags={item.identifier: item for item in items if item.domain.value == "flag"},
        segments={item.identifier: item for item in items if item.domain.value != "flag"},
        keys=frozenset(hash_key(key) for key in keys),
    )


async def hold(store: MemoryStore, snapshots: SnapshotRegistry, *configs: EnvironmentConfig) -> None:
    """Write environments and have them served."""
    for one in configs:
        await store.configs.replace(one)
    await snapshots.resync()
