"""``ff-proxy``, also as ``python -m ff_proxy``."""

import sys

from ff_proxy.runtime.early_signals import (
    end_when_interrupted,
    ignore_signals,
    leave_when_signalled,
    signals_deferred,
)
from ff_proxy.runtime.gc_tuning import end_gc, without_gc


def main() -> int:
    """Run what the command line says, and return the exit code."""
    try:
        return _main()
    finally:
        end_gc()


def _main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word and not word.startswith("-"):
        end_when_interrupted()
        return _run()
    # A signal that comes while a mode is being loaded ends it as orderly as a later one, and when it is over
    # a further one must not make it look as if it had failed.
    leave_when_signalled()
    try:
        return _run()
    finally:
        ignore_signals()


def _run() -> int:
    with signals_deferred(), without_gc():
        from ff_proxy.cli import main as run  # noqa: PLC0415  (it takes a while, see above)

    return run()


if __name__ == "__main__":
    sys.exit(main())
