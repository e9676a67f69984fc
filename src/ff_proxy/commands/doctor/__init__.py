"""``ff-proxy doctor``: is everything that the proxy needs there, and what has to be done where it is not?

Each check says what it found in one line, with the cure behind a problem. Checks know nothing of each other,
run side by side, and have a bound each.
"""
