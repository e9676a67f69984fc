"""The compiled read model: immutable snapshots, their registry, encoded bodies, and freshness checks.

It reads the store through its protocols and compiles with the evaluation engine. ``api``, ``streams``,
``admin`` and ``app`` may import it; it knows nothing of HTTP.
"""
