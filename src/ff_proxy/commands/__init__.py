"""The commands besides running the proxy, one module each: validate, explain, doctor, compare and others.

A command parses its options, builds what it needs and returns an exit code. Its errors are those of
``errors``, which ``cli`` prints. Only ``cli`` may import this room.
"""
