"""Counts that SDKs post back, and targets they register, on their way to SaaS.

See spec/behaviour#endpoints, spec/behaviour#upward-queues, spec/behaviour#usage-merging.

This room merges what comes in, keeps it in the store's queues, and forwards it with retry to sinks that it
declares and the upstream satisfies. Web hands posts in, ``modes`` puts it together; it imports the store's
protocols, telemetry and the model, and never the upstream or the api.
"""
