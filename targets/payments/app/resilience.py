"""Circuit breaker, bulkhead, backoff with full jitter, retry budget: the parts, each for itself.

Our own, because a breaker has to open on a failure rate over a window, run on the loop's clock and
count its half-open probes: of the libraries, pybreaker, circuitbreaker, aiobreaker and purgatory
count consecutive failures, and they read the wall clock or `time.monotonic` themselves.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .logs import Clock

State: TypeAlias = Literal["closed", "open", "half-open"]


class Refusal(Exception):  # noqa: N818  an answer, not an error
    """The call was not made."""


@dataclass(frozen=True)
class BreakerRule:
    """Opens when more than `failure_share` of the last `window` calls failed, once there were
    `least` of them. `open_s` later (plus up to `open_jitter` of it, so that workers do not probe in
    step) at most `probes` calls at a time are let through; `successes` of them in a row close it
    and one failure opens it again."""

    window: int = 20
    least: int = 5
    failure_share: float = 0.5
    open_s: float = 1.0
    open_jitter: float = 0.2
    probes: int = 1
    successes: int = 2


class Breaker:
    """Every call asks `enter` and tells `leave` what became of it. O(window) per failure."""

    def __init__(
        self,
        rule: BreakerRule,
        clock: Clock,
        random: random.Random,
        on_change: Callable[[State], object] = lambda _state: None,
    ) -> None:
        self.state: State = "closed"
        self._rule = rule
        self._clock = clock
        self._random = random
        self._on_change = on_change
        self._recent: deque[bool] = deque(maxlen=rule.window)
        self._turn = 0
        self._probing = 0
        self._succeeded = 0
        self._until = 0.0

    def enter(self) -> int:
        """Permission for one call, to be given back to `leave`. Raises `Refusal`."""
        if self.state == "open" and self._clock() >= self._until:
            self._change("half-open")
        if self.state == "open":
            raise Refusal("breaker open")
        if self.state == "half-open":
            if self._probing >= self._rule.probes:
                raise Refusal("breaker open")
            self._probing += 1
        return self._turn

    def leave(self, entered: int, ok: bool | None) -> None:
        """The call ended well, badly, or (None) in a way that says nothing. Calls that began in an
        earlier state than the present one are not counted: their news is old."""
        if entered != self._turn:
            return
        if self.state == "half-open":
            self._probing -= 1
            if ok:
                self._succeeded += 1
                if self._succeeded >= self._rule.successes:
                    self._change("closed")
            elif ok is False:
                self._open()
        elif ok is not None:
            self._recent.append(ok)
            failed = self._recent.count(False)
            enough = len(self._recent) >= self._rule.least
            if enough and failed > self._rule.failure_share * len(self._recent):
                self._open()

    @property
    def refuses(self) -> bool:
        """Whether a call would be refused now."""
        if self.state == "half-open":
            return self._probing >= self._rule.probes
        return self.state == "open" and self._clock() < self._until

    def _open(self) -> None:
        rule = self._rule
        self._until = self._clock() + rule.open_s * (1 + rule.open_jitter * self._random.random())
        self._change("open")

    def _change(self, state: State) -> None:
        self.state = state
        self._turn += 1
        self._probing = self._succeeded = 0
        self._recent.clear()
        self._on_change(state)


class Bulkhead:
    """At most `size` calls at a time, and no queue: what does not fit is refused at once."""

    def __init__(self, size: float) -> None:
        self.size = size
        self.used = 0

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Holds one place. Raises `Refusal`."""
        if self.used >= self.size:
            raise Refusal("bulkhead full")
        self.used += 1
        try:
            yield
        finally:
            self.used -= 1


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter: before the n-th retry anything from 0 to
    min(cap, base × 2^(n-1)) seconds, evenly (Brooker, "Exponential Backoff And Jitter", AWS)."""

    base_s: float = 0.05
    cap_s: float = 5.0
    jitter: bool = True

    def delay_s(self, retry: int, random: random.Random) -> float:
        """`retry` counts from 1."""
        most_s = min(self.cap_s, self.base_s * 2.0 ** min(retry - 1, 60))
        return random.uniform(0, most_s) if self.jitter else most_s


class RetryBudget:
    """Retries may be `share` of the calls, plus a reserve of `reserve` that calls fill up again.
    Keeps an outage from being met with a multiple of the usual load."""

    def __init__(self, share: float = 0.2, reserve: float = 10.0) -> None:
        self._share = share
        self._reserve = reserve
        self._left = reserve

    def call(self) -> None:
        """A call begins (its first attempt)."""
        self._left = min(self._reserve, self._left + self._share)

    def retry(self) -> bool:
        """Whether one more attempt may be made; if so, it is counted."""
        if self._left < 1 and not math.isinf(self._reserve):
            return False
        self._left -= 1
        return True
