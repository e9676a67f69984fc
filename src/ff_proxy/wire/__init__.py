"""The wire: the one place where the camelCase JSON of Harness is read and written.

Reading is lenient and total, because nothing from outside is trusted to be well-formed; writing is exact
(spec/sdk-wire#bodies). This room imports ``model`` and ``errors`` only. Every room that talks to SDKs,
Harness, files or stores may import its modules.
"""
