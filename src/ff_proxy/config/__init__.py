"""Options: each declared once, read from four sources, checked, and put into one frozen record per role.

This room reads flags, environment, ``.env``, TOML and secret files, checks the options, and describes them
(help, ``print-config``, ``docs/options.md``). It imports ``model`` and ``errors`` only. Only ``cli``,
``commands`` and ``app`` may import it: other rooms get what they need through their constructors.
"""
