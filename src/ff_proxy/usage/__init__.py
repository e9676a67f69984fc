"""Counts that SDKs post back, and targets they register, on their way to SaaS (PRODUCT §3, §6.5, §6.13).

This room merges what comes in, keeps it in the store's queues, and forwards it with retry to sinks that it
declares and the upstream satisfies. Web hands posts in, ``modes`` puts it together; it imports the store's
protocols, telemetry and the model, and never the upstream or web.
"""
