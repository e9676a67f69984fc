"""Frozen records that pass between rooms, and small rules about them.

It does no I/O, reads no clock but one that it is given, and knows no event loop. It imports only ``errors``
and ``bounded``; every room may import it.
"""
