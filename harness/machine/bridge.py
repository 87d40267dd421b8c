"""From the thread in which Hypothesis draws to the engine's loop, and out of it at once.

Hypothesis calls plain functions and must not be waited for in the loop, so it has a thread of its
own. Whatever is no failure of an example (an interrupt, a fault that did not land, a mistake in the
machine) leaves it as `Stop`, an exception that Hypothesis lets through.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from harness.course import asked_to_stop
from harness.engine import Run
from harness.errors import AbortedError, HarnessError

T = TypeVar("T")

LEAVE_S = 5.0
"""How long a machine that is told to stop may go on with what is not the harness's."""


class Stop(KeyboardInterrupt):
    """Leave Hypothesis now. It takes this for an interrupt: nothing is concluded or kept."""


class Bridge:
    """One exploration's way to the loop it was made in."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._current: concurrent.futures.Future[Any] | None = None
        self.stopped = False

    async def run_thread(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread, and raise what ended it. If this is cancelled, so is whatever
        `work` waits for, and it is told to leave."""
        ended: asyncio.Future[None] = self._loop.create_future()

        def finish(error: BaseException | None) -> None:
            if ended.done():
                return
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        def body() -> None:
            error: BaseException | None = None
            try:
                work()
            except Stop as stop:
                error = stop.__cause__
            except Exception as other:
                error = other
            except BaseException as other:
                error = RuntimeError(f"{type(other).__name__}: {other}")
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(finish, error)

        threading.Thread(target=body, name="machine", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait({ended}, timeout=LEAVE_S)
            raise

    def stop(self) -> None:
        """Make the thread leave at its next call, and end the present one."""
        with self._lock:
            self.stopped = True
            if self._current is not None:
                self._current.cancel()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` in the loop, from the thread. Raises `Stop` for anything that must end the
        exploration."""
        with self._lock:
            if self.stopped:
                work.close()
                raise Stop
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._current = future
        try:
            result = future.result()
        except concurrent.futures.CancelledError:
            raise Stop from None
        except HarnessError as error:
            raise Stop from error
        finally:
            self._current = None
        if (why := asked_to_stop(self._run)) is not None:
            raise Stop from AbortedError(f"The run was stopped: {why}.")
        return result
