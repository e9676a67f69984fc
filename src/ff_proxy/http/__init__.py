"""An HTTP/1.1 server that knows nothing of flags: connections, limits, TLS, routes, cached responses.

llhttp reads what clients send; around it stand our limits. A ``Route`` gives each request to a ``Handler``,
which answers at once or later. This room imports errors, telemetry and ``model.clock`` only.
"""
