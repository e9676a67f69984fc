"""What the process was told: every option declared once, where values come from, one frozen record per mode.

Owns reading flags, environment, ``.env`` and TOML, checking them, and describing them (listing, report,
``docs/options.md``). Imports the model and the errors only. ``cli``, ``commands`` and ``modes`` may import
it, no other room does: what a room needs is handed to its constructor.
"""
