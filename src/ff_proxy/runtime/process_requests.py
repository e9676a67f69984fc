"""Serving requests to a running process that come by signals, other than shutdown."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ff_proxy.runtime.signals import ProcessRequest, Stop
from ff_proxy.telemetry import Logger

_MOST_TASKS: Final = 200
_DEEPEST: Final = 100


async def serve_requests(stop: Stop, reloads: Sequence[Callable[[], object]], log: Logger) -> None:
    """Serve requests until cancelled.

    ``reloads`` read files again and log what has changed; they are called in a thread.
    """
    while True:
        match await stop.requests.get():
            case ProcessRequest.RELOAD:
                event = "files are read again" if reloads else "there is nothing to read again"
                log.info(event, signal="SIGHUP")
                for reload in reloads:
                    await asyncio.to_thread(reload)
            case ProcessRequest.LOG_TASKS:
                log_tasks(log)
            case ProcessRequest.NOTHING:
                log.info("ignored", signal="SIGUSR2")


def log_tasks(log: Logger) -> None:
    """Log every task of the running loop and what it waits for, up to a bound."""
    tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    log.info("tasks", count=len(tasks), shown=min(len(tasks), _MOST_TASKS))
    for task in tasks[:_MOST_TASKS]:
        log.info("task", name=task.get_name(), waits_at=_where(task.get_coro()))


def _where(work: Any) -> str:
    """The innermost line where ``work`` waits."""
    frame: FrameType | None = None
    for _ in range(_DEEPEST):
        if isinstance(work, Coroutine):
            frame, work = getattr(work, "cr_frame", None) or frame, getattr(work, "cr_await", None)
        elif hasattr(work, "gi_frame"):
            frame, work = work.gi_frame or frame, work.gi_yieldfrom
        else:
            break
    if frame is None:
        return "unknown"
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_name}"
