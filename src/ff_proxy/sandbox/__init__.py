"""A small Harness for development, the demo and tests: client, stream, metrics and admin APIs on loopback.

It owns the environments that it serves, records what it receives, and fails on request. ``state`` and its
neighbours know no sockets; only ``server`` listens. It writes its own wire format, so that tests against it
find mistakes in ``wire``. Only ``commands`` and tests may import it.
"""
