"""Python's garbage collector, kept out of the way of millions of objects that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collection meanwhile: it would walk through a whole history again and again, and free
    nothing. That is a third of the time that reading a long one takes, and more of judging it."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
