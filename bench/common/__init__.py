"""What the benchmarks share: servers as processes, load, turns, figures, and records of results.

Only ``bench`` imports it. Nothing here knows what is measured.
"""
