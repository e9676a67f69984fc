"""The process: services in one task group, signals, shutdown in phases, the event loop, the clock.

It knows nothing of what the services do; ``modes`` hands them over and says what to do at shutdown. It
imports the model, telemetry and errors only, and is imported by ``modes``, ``commands`` and ``cli``.
"""
