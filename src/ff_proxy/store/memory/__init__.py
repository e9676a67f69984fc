"""The store in memory: the default, and the reference for every other adapter."""

from ff_proxy.store.memory.store import MemoryConfigs, MemorySecrets, MemoryStore, MemoryTargets

__all__ = ["MemoryConfigs", "MemorySecrets", "MemoryStore", "MemoryTargets"]
