"""A switch between two colours: gated before, watched after, taken back by itself.

Who carries requests is not known here; `Upstream` is all that a rollout asks of it.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .accounts import RefusedError
from .logs import Clock, Log

CHECKS = 5
"""So many health checks in a row must be good before anybody is sent to a colour."""

CHECK_PAUSE_S = 0.05
ERROR_BUDGET = 0.002
"""The share of requests that may fail after a switch (the source's figure is 0.2 %)."""

FORGIVEN = 1
"""A single error is no rate. With so few it is not judged."""


class Upstream(Protocol):
    """The colours, and how they are asked."""

    async def healthy(self, colour: str) -> str | None:
        """None if the colour is ready and passes the smoke test; else what is wrong with it."""

    async def ordinary(self, colour: str) -> None:
        """Send an ordinary request that changes nothing; how it ends is counted as all others."""

    async def audit(self, colour: str, action: str, before: str, to: str, reason: str) -> bool:
        """Have a deployment written into the audit log by that colour. Whether it was."""


@dataclass(frozen=True)
class Outcome:
    """Of one switch. `requests` and `errors` are those of the new colour while it was watched."""

    switched: bool
    rolled_back: bool
    reason: str
    requests: int = 0
    errors: int = 0


class Rollout:
    """Which colour is active; `path` keeps it over restarts of the gate."""

    def __init__(
        self,
        colours: tuple[str, ...],
        upstream: Upstream,
        path: Path,
        watch_s: float,
        clock: Clock,
        log: Log,
        *,
        careless: bool = False,
    ) -> None:
        self._colours = colours
        self._upstream = upstream
        self._path = path
        self._watch_s = watch_s
        self._clock = clock
        self._log = log
        self._careless = careless
        self.active = _read(path, colours)
        self.switching = False
        self._watched: str | None = None
        self._requests = 0
        self._errors = 0

    def other(self, colour: str) -> str:
        return next(one for one in self._colours if one != colour)

    def ended(self, colour: str, good: bool) -> None:
        """A request to a colour has ended. Called for each."""
        if colour == self._watched:
            self._requests += 1
            self._errors += not good

    async def switch(self, to: str) -> Outcome:
        """Make `to` the active colour, if it stands the test. Raises `RefusedError` if there is no
        such colour, or another switch is under way."""
        if to not in self._colours:
            raise RefusedError(404, f"there is no colour {to}: {', '.join(self._colours)}")
        if self.switching:
            raise RefusedError(409, "a switch is under way")
        self.switching = True
        try:
            outcome = await self._switch(self.active, to)
        finally:
            self.switching = False
        self._log.info(
            "switch",
            to=to,
            outcome=_word(outcome),
            reason=outcome.reason,
            requests=outcome.requests,
            errors=outcome.errors,
        )
        return outcome

    async def _switch(self, before: str, to: str) -> Outcome:
        if to == before:
            return Outcome(True, False, "it was active")
        if self._careless:  # Mutant `gate-without-health-check`: no gate, no watch.
            self._activate(to)
            return Outcome(True, False, "nobody looked")
        wrong = await self._gate(to)
        if wrong is None and not await self._upstream.audit(to, "switched", before, to, "healthy"):
            # What is not on record is not done.
            wrong = "the switch could not be written into the audit log"
        if wrong is not None:
            await self._upstream.audit(before, "refused", before, to, wrong)
            return Outcome(False, False, wrong)
        self._activate(to)
        good = await self._watch(to)
        requests, errors = self._requests, self._errors
        if good:
            return Outcome(True, False, "healthy", requests, errors)
        self._activate(before)
        reason = f"{errors} of {requests} requests failed after the switch"
        if not await self._upstream.audit(before, "rolled-back", to, before, reason):
            self._log.warning("unaudited", action="rolled-back", to=before, reason=reason)
        return Outcome(False, True, reason, requests, errors)

    async def _gate(self, to: str) -> str | None:
        for number in range(CHECKS):
            wrong = await self._upstream.healthy(to)
            if wrong is not None:
                return f"health check {number + 1} of {CHECKS}: {wrong}"
            await asyncio.sleep(CHECK_PAUSE_S)
        return None

    async def _watch(self, to: str) -> bool:
        """Whether the colour keeps within the budget. Ordinary requests of the gate's own are among
        those that are judged, so that there are some when nobody else asks."""
        self._watched, self._requests, self._errors = to, 0, 0
        until = self._clock() + self._watch_s
        try:
            while self._clock() < until:
                await self._upstream.ordinary(to)
                if self._errors > max(FORGIVEN, self._requests * ERROR_BUDGET):
                    return False
                await asyncio.sleep(CHECK_PAUSE_S)
        finally:
            self._watched = None
        return True

    def _activate(self, colour: str) -> None:
        """Written down before it is so: a gate that is killed comes back with one of the two."""
        _write(self._path, colour)
        self.active = colour


def _word(outcome: Outcome) -> str:
    if outcome.switched:
        return "switched"
    return "rolled-back" if outcome.rolled_back else "refused"


def _read(path: Path, colours: tuple[str, ...]) -> str:
    try:
        active = json.loads(path.read_text())["active"]
    except (OSError, ValueError, KeyError, TypeError):
        return colours[0]
    return str(active) if active in colours else colours[0]


def _write(path: Path, colour: str) -> None:
    beside = path.with_suffix(".new")
    with beside.open("w") as file:
        file.write(json.dumps({"active": colour}))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
