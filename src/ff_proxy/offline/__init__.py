"""The offline directory: its format, read and written by the same modules, and watched for changes.

It loads a directory's environments and targets into the store and, for ``generate`` and the sandbox, writes
them back. It imports ``model``, ``wire``, ``telemetry`` and the store's protocols, never ``upstream``.
``app``, ``commands`` and ``sandbox`` may import it.
"""
