"""What ff-proxy costs and how fast it is, compared with peers in the same run: ``python -m bench``.

Each module named in ``bench.suite`` is one benchmark; ``bench.common`` is what they share; ``bench.goals``
are the figures to reach, and ``bench.page`` is the page that shows results; ``bench.capacity`` works out
fleets from measured unit costs. Nothing outside ``tests/bench`` may import it.
"""
