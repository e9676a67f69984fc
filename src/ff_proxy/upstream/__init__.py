"""Harness SaaS: authenticate, fetch, follow the stream or poll, list keys and targets, post what goes up.

This room owns every request to SaaS. It writes the store through its protocols and knows nothing of
web, usage or any store's adapter; only ``modes`` imports it. ``http`` is the seam to the network and
the one place that knows the HTTP client; ``client`` and ``admin`` are the two APIs; ``environment``
keeps one environment in step; ``service`` runs all of them.
"""
