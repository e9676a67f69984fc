"""What the commands beside the proxy itself do: one module each, called by ``cli`` and by nobody else.

A command reads its own few options, composes what it needs and returns an exit code; it raises the house's
errors and leaves it to ``cli`` to word them.
"""
