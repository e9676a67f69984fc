"""The process: services in one task group, signals, shutdown in phases, the event loop, the clock.

It knows nothing of what the services do; ``app`` passes them in and decides what happens at shutdown. It
imports ``model``, ``telemetry``, ``aio`` and ``errors``. ``app``, ``commands`` and ``cli`` may import it.
"""
