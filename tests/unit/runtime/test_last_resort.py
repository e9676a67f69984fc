"""The end of a process that hangs."""

import subprocess
import sys
import textwrap
import threading

import pytest

from ff_proxy.runtime.last_resort import LastResort


def test_it_ends_the_process_when_the_time_is_over() -> None:
    """As an orderly end would."""
    left = threading.Event()
    codes: list[int] = []
    written: list[str] = []

    def leave(code: int) -> None:
        codes.append(code)
        left.set()

    last_resort = LastResort(lambda: written.append("the rest"), leave)
    last_resort.arm(3600)
    last_resort.arm(0)
    assert left.wait(5)
    assert (codes, written) == ([0], ["the rest"])
    last_resort.disarm()


def test_an_orderly_end_comes_first() -> None:
    """Then nothing is left that could end anybody."""
    before = set(threading.enumerate())  # of earlier tests, which may end at any time
    last_resort = LastResort(lambda: None, lambda _: pytest.fail("nobody hangs"))
    last_resort.disarm()
    last_resort.arm(3600)
    last_resort.disarm()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    "hanging",
    [
        "await asyncio.to_thread(time.sleep, 60)",
        "time.sleep(60)",
        "await forever()",
        "asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)",
    ],
    ids=["thread", "loop", "task", "left behind"],
)
def test_whatever_hangs_the_process_ends(hanging: str) -> None:
    """A thread, the loop itself, or a task that hears of no cancellation; with exit code 0."""
    script = textwrap.dedent(
        f"""
        import asyncio, os, signal, time
        from ff_proxy.errors import ExitCode
        from ff_proxy.runtime.event_loop import run_until_stopped

        async def forever():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

        async def main(stop):
            stop.taken_over = True
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.requested.wait()
            stop.arm(0.1)
            {hanging}
            return ExitCode.OK

        run_until_stopped(main)
        os._exit(9)
        """
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, timeout=20, text=True
    )
    assert ended.returncode == 0
    assert ended.stderr == "ff-proxy: the shutdown hangs, the process ends without waiting any longer\n"
