"""Composition: the only room that names concrete classes.

``roles`` says what a process can be, and ``build`` puts any of them together: a store and who keeps it
current (``backend`` and the modules that fill it: ``harness``, ``directory``, ``beside_sync``, ``redis``),
what SDKs post (``ingest``), and either the server that SDKs call (``serving``) or the one that workers call
(``ipc``). ``run`` runs one process, ``supervisor`` several. Only ``cli`` and ``commands`` may import it.
"""
