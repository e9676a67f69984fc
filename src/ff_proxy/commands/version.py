"""``ff-proxy version``: the versions of ff-proxy and Python."""

import platform
from collections.abc import Mapping, Sequence
from typing import TextIO

from ff_proxy import __version__
from ff_proxy.commands.command_line import JsonOptions, read_options
from ff_proxy.commands.output import write_json
from ff_proxy.errors import ExitCode


def run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy version ARGV…``: one line; ``None`` if help is requested."""
    options = read_options(argv, JsonOptions)
    if options is None:
        return None
    python, machine = platform.python_version(), platform.machine()
    if options.json:
        write_json(out, {"version": __version__, "python": python, "machine": machine})
    else:
        out.write(f"ff-proxy {__version__} (Python {python}, {machine})\n")
    return ExitCode.OK
