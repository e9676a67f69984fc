"""SDK streams: an environment's changes, sent to everybody who listens, at a pace that all SDKs can follow.

The ``hub`` takes over connections whose request was accepted (``api.stream_requests``). Only ``app`` imports
this room.
"""
