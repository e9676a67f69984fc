"""An HTTP/1.1 server that knows nothing of flags: connections, limits, TLS, routes, cached responses.

llhttp parses what clients send, within our limits. A ``Route`` gives each request to a ``Handler``, which
answers at once or later. It imports ``errors``, ``telemetry``, ``tls``, and ``clock`` and ``token_buckets``
of ``model``; ``api``, ``streams`` and ``app`` may import it.
"""
