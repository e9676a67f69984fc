"""What ff-proxy costs and how fast it is, measured beside peers in the same run: ``python -m bench``.

Each module named in ``bench.suite`` is one benchmark; ``bench.common`` is what they share; ``bench.report``
writes the pages that show results, and ``bench.simulate`` works out fleets from measured unit costs.
Nothing outside ``tests/bench`` may import it.
"""
