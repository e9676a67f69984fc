"""Composition: the only room that chooses concrete classes.

Each mode has its own options (``config.records``) and a module here with a function ``run``, which builds the
objects and runs them. ``stores``, ``serving`` and ``upstream`` build the parts that modes share; there is no
other logic here. Only ``cli`` and ``commands`` may import this room.
"""
