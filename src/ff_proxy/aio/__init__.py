"""What asyncio leaves out: cancellations that libraries miss, borders to libraries, work that is kept going.

It knows the errors, the model and telemetry, and nothing of flags, stores or HTTP.
"""
