"""Options: each declared once, read from four sources, checked, and put into one frozen record per role.

Owns reading flags, environment, ``.env``, TOML and files of secrets, checking them, and describing them
(help, ``print-config``, ``docs/options.md``). Imports the model and the errors only. ``cli``, ``commands``
and ``app`` may import it, no other room does: what a room needs is handed to its constructor.
"""
