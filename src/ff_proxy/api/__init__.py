"""What SDKs and operators call: authentication, reads, evaluations, usage, opening streams, health, OFREP.

``routes`` is the table of routes. Handlers answer from snapshots; ``ports`` declares what they need from the
rooms that talk to Harness. Only ``app`` may import this room.
"""
