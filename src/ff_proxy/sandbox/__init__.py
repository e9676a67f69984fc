"""A Harness SaaS small enough to read: the client, stream, metrics and admin APIs over loopback.

It owns the environments it serves (plain wire documents, a version bumped on each change), what it
received, and a way to misbehave on request; it serves developers of applications, the demo and the
tests. ``state`` and its neighbours know no sockets; ``server`` is the only module that listens. It is
imported by ``commands`` (and tests), and imports evaluation, offline, telemetry and model.
"""
