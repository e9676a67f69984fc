"""Composition: the only room that names concrete classes.

``roles`` defines the kinds of processes, and ``build`` builds any of them: a store and what keeps it current
(``backend``, made by ``harness``, ``directory``, ``beside_sync`` or ``redis``), the intake of SDK posts
(``ingest``), and either the server that SDKs call (``serving``) or the one that workers call.
``run`` runs one process, ``supervisor`` several. Only ``cli`` and ``commands`` may import it.
"""
