"""Usage and target registrations from SDKs, on their way to Harness.

See spec/behaviour#endpoints, spec/behaviour#upward-queues, spec/behaviour#usage-merging.

It merges what SDKs post, writes it to the store's queues, and forwards it with retries to sinks that it
declares and ``upstream`` implements. It imports ``model``, ``wire``, ``telemetry``, ``aio``, ``bounded``,
``errors`` and the store's protocols, never ``upstream``. ``api``, ``admin`` and ``app`` may import it.
"""
