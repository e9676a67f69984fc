"""Harness: authenticate, fetch, follow the stream or poll, list keys and targets, post usage.

This room makes every request to Harness. It writes the store through its protocols and knows nothing of
``api``, ``usage`` or any store's adapter. Only ``app`` and ``commands`` may import it. Only ``http``,
``failure_text`` (its exceptions) and ``inspection`` (its steps) know the HTTP client; ``client`` and
``admin`` are the two APIs; ``environment`` synchronises one environment; ``service`` runs all of them.
"""
