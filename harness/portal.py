"""The door from plain functions to the engine: an event loop in a thread of its own (D10).

Tests are plain functions and may use any event loop they like; the engine has its own. The caller
waits in its thread, which is what lets Ctrl-C and SIGTERM end a run cleanly.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

CLEAN_UP_S = 60.0
"""How long an interrupted call may take to clean up. A second interrupt ends the waiting at once;
then the reaper cleans up."""

_POLL_S = 0.2


class Portal:
    """Runs coroutines in the engine's loop on behalf of other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], meanwhile: Callable[[], None] = lambda: None) -> T:
        """Run `work` to its end and return its result; `meanwhile` is called now and then.

        If the waiting is interrupted (Ctrl-C), `work` is cancelled, waited for, and the interrupt
        goes on.
        """
        done = threading.Event()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            task = self._loop.create_task(work)
            tasks.append(task)
            task.add_done_callback(lambda _: done.set())

        self._loop.call_soon_threadsafe(start)
        try:
            while not done.wait(_POLL_S):
                meanwhile()
        except BaseException:
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
            done.wait(CLEAN_UP_S)
            raise
        meanwhile()
        return tasks[0].result()

    def close(self) -> None:
        """End the loop; calls still under way are cancelled."""
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(CLEAN_UP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLEAN_UP_S)
        self._loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within it, SIGTERM does what Ctrl-C does. Outside the main thread nothing can be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
