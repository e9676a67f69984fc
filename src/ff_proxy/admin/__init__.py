"""The admin address: pages and an API that show this proxy to the people who keep it.

It reads everything and owns nothing: all its data comes through ``ports``. Pages are complete without
JavaScript. Only ``app`` may import this room.
"""
