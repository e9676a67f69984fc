"""Standard input, output and error: closed or broken ones must not be the end of us."""

import os
import sys
from typing import Final

_FIRST_OTHER: Final = 3


def open_standard_files() -> None:
    """Open to nowhere what the parent closed of file descriptors 0, 1 and 2.

    A socket would get their numbers otherwise: what is printed would go to an SDK, and the event loop
    refuses to close them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < _FIRST_OTHER:
        pass
    os.close(descriptor)
    # They last as long as the process: nobody closes them.
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  (see above)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  (see above)


def flush_standard_output() -> bool:
    """Whether everything that was printed has been written; if not, it is dropped, and nothing is raised."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # The interpreter would try once more when it ends, and complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        return False
    return True
