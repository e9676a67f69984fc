"""Certificates: reading the proxy's own, and the trusted ones for connections to others.

It imports only ``errors`` and ``model``. Rooms that open or accept TLS connections (``http``, ``upstream``,
``store``) and ``commands`` may import it.
"""
