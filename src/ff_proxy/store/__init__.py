"""Stores: environments with a change feed, targets, and queues of usage and registrations.

``protocol`` defines a store; the adapters (memory, SQLite, Redis) implement it, and one contract suite tests
them all. ``upstream`` and ``offline`` write to stores, ``usage`` queues in them, ``snapshots`` reads them.
Any of these may import ``protocol``; only ``app`` and ``commands`` may import an adapter.
"""
