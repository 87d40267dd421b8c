"""The guard of one dependency in one worker: every call to it goes through here."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp

from . import metrics
from .logs import Clock, Log
from .resilience import Backoff, Breaker, BreakerRule, Bulkhead, Refusal, RetryBudget, State

PERSISTENT_S = 10.0

T = TypeVar("T")


class UnavailableError(Exception):
    """The dependency did not do what it was asked."""

    certain = True
    """Whether it certainly had no effect there."""


class UnknownError(UnavailableError):
    """Nobody knows whether the dependency did it: an attempt was sent, and no answer came."""

    certain = False


class FailedError(Exception):
    """The dependency answered that it failed (5xx)."""


_FAILURES = (TimeoutError, OSError, EOFError, aiohttp.ClientError, FailedError)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a dependency is called. `attempts` counts the first one as well. All calls of this
    service may be repeated: the other side knows them by an id."""

    timeout_s: float
    attempts: int = 3
    concurrent: float = 8
    backoff: Backoff = field(default_factory=Backoff)
    retry_share: float = 0.2
    retry_reserve: float = 10.0
    breaker: BreakerRule | None = field(default_factory=BreakerRule)
    persistent: bool = False


POLICIES = {
    "provider": Policy(timeout_s=0.3),
    "notifications": Policy(timeout_s=0.2, attempts=2),
    "analytics": Policy(timeout_s=0.2, attempts=1, concurrent=1),
    # Every charge asks it two to four times, in a row.
    "store": Policy(timeout_s=0.4, concurrent=16),
}


def policy_of(dependency: str, mutant: str | None) -> Policy:
    """The policy of a dependency."""
    policy = POLICIES[dependency]
    match mutant:
        case "no-bulkhead":  # Mutant: `api` has one pool for all instead.
            return dataclasses.replace(policy, concurrent=math.inf)
        case "no-breaker":  # Mutant.
            return dataclasses.replace(policy, breaker=None)
        case "breaker-never-closes":  # Mutant: nobody ever asks again.
            rule = dataclasses.replace(policy.breaker or BreakerRule(), open_s=math.inf)
            return dataclasses.replace(policy, breaker=rule)
        case "retries-without-jitter":  # Mutant: all who failed together come back together.
            return dataclasses.replace(policy, backoff=Backoff(jitter=False))
        case "retries-without-limit":  # Mutant: it tries until it works, whatever the breaker says.
            return dataclasses.replace(
                policy,
                attempts=10_000,
                backoff=Backoff(cap_s=0.02),
                retry_reserve=math.inf,
                persistent=True,
            )
    return policy


class Guard:
    """Time-out, breaker, bulkhead and retries of one dependency. Of each worker's own, so that no
    worker waits for another, and a worker cut off alone says so alone."""

    def __init__(
        self, dependency: str, policy: Policy, clock: Clock, random: random.Random, log: Log
    ) -> None:
        self.dependency = dependency
        self._policy = policy
        self._clock = clock
        self._random = random
        self._log = log
        self._bulkhead = Bulkhead(policy.concurrent)
        self._budget = RetryBudget(policy.retry_share, policy.retry_reserve)
        self._breaker: Breaker | None = None
        if policy.breaker is not None:
            self._breaker = Breaker(policy.breaker, clock, random, self._changed)
        metrics.breaker_is(dependency, "closed")

    @property
    def refuses(self) -> bool:
        """Whether the breaker would refuse a call now."""
        return self._breaker is not None and self._breaker.refuses

    async def call(
        self, send: Callable[[], Awaitable[T]], *, deadline: float, key: str | None = None
    ) -> T:
        """What `send` answers, tried as often as the policy allows before `deadline` (loop time).

        Attempts of calls with a `key` are logged. Raises `UnavailableError` if nothing was sent,
        `UnknownError` if something was.
        """
        policy = self._policy
        if policy.persistent:
            deadline = self._clock() + PERSISTENT_S
        self._budget.call()
        attempt, delay_s = 1, 0.0
        failure: BaseException | None = None
        while True:
            try:
                return await self._attempt(send, deadline, key, attempt, delay_s)
            except Refusal as refusal:
                metrics.refused(self.dependency, str(refusal))
                if failure is None:
                    raise UnavailableError(f"{self.dependency}: {refusal}") from None
                break
            except _FAILURES as error:
                failure = error
            delay_s = policy.backoff.delay_s(attempt, self._random)
            late = self._clock() + delay_s + policy.timeout_s > deadline
            if attempt >= policy.attempts or late or not self._budget.retry():
                break
            await asyncio.sleep(delay_s)
            attempt += 1
        raise UnknownError(f"{self.dependency}: {type(failure).__name__}") from failure

    async def _attempt(
        self,
        send: Callable[[], Awaitable[T]],
        deadline: float,
        key: str | None,
        attempt: int,
        delay_s: float,
    ) -> T:
        timeout_s = min(self._policy.timeout_s, deadline - self._clock())
        if timeout_s <= 0:
            raise Refusal("no time left")
        breaker = self._breaker
        if self._policy.persistent and attempt > 1:
            breaker = None
        with self._bulkhead.slot():
            entered = breaker.enter() if breaker is not None else 0
            if key is not None:
                self._log.info(
                    "attempt",
                    dependency=self.dependency,
                    key=key,
                    attempt=attempt,
                    delay_s=round(delay_s, 6),
                )
            ok: bool | None = None
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await send()
                ok = True
                return answer
            except TimeoutError:
                # One that had less than the usual time says nothing about the dependency.
                ok = False if timeout_s == self._policy.timeout_s else None
                raise
            except _FAILURES:
                ok = False
                raise
            finally:
                metrics.attempted(self.dependency, ok)
                if breaker is not None:
                    breaker.leave(entered, ok)

    def _changed(self, state: State) -> None:
        metrics.breaker_is(self.dependency, state)
        # That the log fails must not change what the breaker does.
        with contextlib.suppress(OSError):
            self._log.warning("breaker", dependency=self.dependency, state=state)
