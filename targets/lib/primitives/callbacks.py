"""Functions that others have asked to be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

from .telemetry import emit

P = ParamSpec("P")


class Callbacks(Generic[P]):
    """Called in the order in which they were added. One that fails is logged under `event`, and
    keeps neither the others nor the caller from going on."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._callbacks: list[Callable[P, object]] = []

    def add(self, callback: Callable[P, object]) -> None:
        self._callbacks.append(callback)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for callback in tuple(self._callbacks):
            try:
                callback(*args, **kwargs)
            except Exception as error:
                emit("callback-failed", of=self._event, error=repr(error))
