"""A small Harness for development, the demo and tests: client, stream, metrics and admin APIs on loopback.

It owns the environments that it serves, records requests, and fails on demand. It has its own HTTP server and
writes its own wire format, so that tests against it find mistakes in ``http`` and ``wire``. Only ``commands``
and tests may import it.
"""
