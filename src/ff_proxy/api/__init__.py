"""What SDKs and operators call: authentication, reads, evaluations, usage posts, streams' requests, health.

``routes`` is the table. Handlers answer from snapshots; what they need of whoever talks to Harness they
declare in ``ports``. Only ``app`` imports this room.
"""
