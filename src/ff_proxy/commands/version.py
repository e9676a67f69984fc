"""``ff-proxy version``: which ff-proxy this is, and on which Python it runs."""

import platform
from typing import TextIO

from ff_proxy import __version__
from ff_proxy.errors import ExitCode


def version(out: TextIO) -> ExitCode:
    """Write one line."""
    out.write(f"ff-proxy {__version__} (Python {platform.python_version()}, {platform.machine()})\n")
    return ExitCode.OK
