"""Signals before the event loop runs; imported before everything else, so it imports next to nothing."""

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn


def existing(*names: str) -> tuple[signal.Signals, ...]:
    """The signals of these names that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


STOPPING: Final = existing("SIGTERM", "SIGINT", "SIGQUIT")
"""Signals that request a shutdown."""

HARMLESS: Final = existing("SIGHUP", "SIGUSR1", "SIGUSR2")
"""Signals that request something else, and never end the process."""


def leave_when_signalled() -> None:
    """From now on a signal that requests a shutdown ends the process with exit code 0.

    The first process of a container has no default action for SIGTERM: without this it would not end.
    """
    current = signal.getsignal(STOPPING[0])
    leave = current if isinstance(current, _Leave) else _Leave()
    for number in STOPPING:
        signal.signal(number, leave)
    for number in HARMLESS:
        signal.signal(number, _ignore)
    report = sys.unraisablehook

    def report_others(ignored: "sys.UnraisableHookArgs") -> None:
        if not isinstance(ignored.exc_value, _Left):
            report(ignored)

    # What Python ignores (see ``was_signalled``) it would print with its trace.
    sys.unraisablehook = report_others


def end_when_interrupted() -> None:
    """From now on Ctrl-C ends the process as it ends other programs: at once, without a stack trace."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started it ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def leave_on_signals() -> Iterator[None]:
    """``leave_when_signalled`` within the context."""
    before = {number: signal.getsignal(number) for number in (*STOPPING, *HARMLESS)}
    report = sys.unraisablehook
    leave_when_signalled()
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Within the context, which should be short, no signal is handled; after it, those that came are.

    For imports: an exception that a handler raises inside one may be replaced, reported or lost there.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*STOPPING, *HARMLESS))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """From now on only SIGKILL has an effect: the process is about to end by itself."""
    for number in (*STOPPING, *HARMLESS):
        signal.signal(number, signal.SIG_IGN)


def was_signalled(handlers: Iterable[object]) -> bool:
    """Whether a signal came to one of these earlier handlers, and yet the process goes on.

    Python ignores what a handler raises in a finalizer or in the callback of a weak reference.
    """
    return any(isinstance(handler, _Leave) and handler.signalled for handler in handlers)


class _Left(SystemExit):
    """A signal has ended the process."""


class _Leave:
    """The handler that ends the process."""

    def __init__(self) -> None:
        self.signalled = False

    def __call__(self, *_: object) -> NoReturn:
        self.signalled = True
        raise _Left(0)


def _ignore(_: int, __: FrameType | None) -> None:
    # A function, since programs that are started from here would inherit SIG_IGN.
    return
