"""Helpers for asyncio: cancellation, error translation, locks, limits, and work that is kept running.

It imports ``errors``, ``model`` and ``telemetry``, and knows nothing of flags, stores or HTTP. Every room
above ``telemetry`` may import it.
"""
