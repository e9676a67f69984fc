"""``ff-proxy doctor``: whether the proxy has everything it needs, and what to do if not.

A check reports findings of one line, problems with advice. Checks are independent, run concurrently, and each
has a timeout.
"""
