"""SDK streams: sends an environment's changes to every open stream, at a pace that all SDKs can follow.

The ``hub`` takes over connections whose requests ``api.stream_requests`` accepted. Only ``app`` may import
this room.
"""
