"""Frozen records that pass between rooms, and the only place where the wire's JSON names exist.

Every room may import the model; the model imports only ``ff_proxy.errors``. It does no I/O, reads
no clock and knows no event loop: a record is made, read and compared, nothing else.
"""
