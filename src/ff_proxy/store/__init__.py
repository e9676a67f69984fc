"""The truth and its change feed: environments, targets, usage on its way up, and compiled snapshots.

``protocol`` says what a store is; adapters (memory, SQLite, Redis) keep to it, and one contract
suite holds them equal. ``snapshots`` compiles what a store holds and announces differences. Upstream
and offline write here, usage queues here, web reads snapshots; only ``modes`` names an adapter.
"""
