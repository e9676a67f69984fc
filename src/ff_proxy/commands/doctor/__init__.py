"""``ff-proxy doctor``: does the proxy have everything that it needs, and if not, what to do?

Each check says what it found in one line, with the cure behind a problem. Checks know nothing of each other,
run side by side, and have a bound each.
"""
