"""The wire: the one place where the camelCase JSON of Harness is read and written.

Reading is lenient and total (nothing from outside is trusted to be well-formed), writing is exact
(spec/sdk-wire#bodies). Whoever meets the wire imports the module it needs from here.
"""
