"""Standard input, output and error, which may be closed or broken."""

import os
import sys
from typing import Final

_FIRST_OTHER: Final = 3


def open_standard_files() -> None:
    """Open ``/dev/null`` for those of file descriptors 0, 1 and 2 that the parent closed.

    Otherwise a socket would get their numbers: output would be sent to an SDK, and the event loop refuses to
    close them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < _FIRST_OTHER:
        pass
    os.close(descriptor)
    # They stay open as long as the process runs.
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  (see above)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  (see above)


def flush_standard_output() -> bool:
    """Write what was printed; ``False`` if that fails, and the output is dropped."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # Else the interpreter would try again at exit, and complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        return False
    return True
