"""An event loop whose time passes at once: nothing waits, and everything happens in order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self.skipped_s += timeout
        return super().select(0 if timeout is not None else None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at zero and jumps to whatever is due next."""

    def __init__(self) -> None:
        self._skipping = _Selector()
        super().__init__(self._skipping)
        # As asyncio's own clock does, a timer counts as due if it is less than this away.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._skipping.skipped_s


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time. What waits for anything but time waits for ever."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
