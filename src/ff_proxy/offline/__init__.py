"""The offline directory: its format, read and written by the same modules, and watched for changes.

It turns a directory into environments and targets in the store and, for ``generate`` and the sandbox, back.
It imports the store's protocols, telemetry and the model, never the upstream or web; ``modes``,
``commands`` and ``sandbox`` import it.
"""
