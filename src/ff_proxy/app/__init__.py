"""Composition: each mode names the concrete classes that it is made of, and nothing else does.

A mode is a type with its own options (``config.records``) and a module here with a function ``run``, which
builds the graph and runs it. ``stores``, ``serving`` and ``saas`` build the parts that modes share. Only
``cli`` and ``commands`` import this room; there is no logic in it.
"""
