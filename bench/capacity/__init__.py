"""What fleets need: members, Redis, connections; from unit costs that ``make bench`` measured.

    python -m bench.capacity --sdks 200000 --flags 300 --changes 2 --session 10

``units`` are the costs, and ``measured`` takes them from results. ``case`` is what is asked, and ``formulas``
what follows. ``page`` writes docs/capacity.md of ``sections``. Only ``bench`` and its tests import it; it
measures nothing itself.
"""
