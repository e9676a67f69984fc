"""What fleets need: members, Redis, connections; from unit costs that ``make bench`` measured.

    python -m bench.capacity --sdks 200000 --flags 300 --changes 2 --session 10

``units`` are the costs, and ``measured`` takes them from results. ``case`` is what is asked, ``demand`` works
out a steady state in closed form, ``limits`` what is needed and what breaks first. ``sdks`` is how SDKs
behave; ``storm``, ``news`` and ``scenarios`` simulate what is not steady, on the ``engine``. ``page`` writes
docs/capacity.md. Only ``bench`` and its tests import it; it measures nothing itself.
"""
