"""The steady state and the stop conditions of a run: measured, waited for, and acted upon (D6)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from harness.errors import PROGRAMMING, AbortedError, UsageError, origin, with_place
from harness.history import Phase
from harness.probes import Look, Probe, StopAfter, StopWhen
from harness.timeline import Measurement

INTERVAL_S = 0.2
"""How often everything is measured."""

MEASURE_TIMEOUT_S = 1.0

STOPPING = "stop: "
"""Begins the names of measurements that are for stop conditions alone."""


@dataclass(frozen=True)
class Kept:
    """What a probe measured in one phase: how often, the extremes (None if there was never anything
    to measure), and the share of measurements within its tolerance."""

    count: int
    least: float | None
    most: float | None
    within: float


def kept(
    measurements: Sequence[Measurement], phases: Sequence[Phase]
) -> dict[str, dict[str, Kept]]:
    """Of each probe of the steady state in each phase. O(measurements × phases)."""
    found: dict[str, dict[str, Kept]] = {}
    for phase in phases:
        by_probe: dict[str, list[Measurement]] = {}
        for one in measurements:
            if phase.start <= one.time < phase.end and not one.probe.startswith(STOPPING):
                by_probe.setdefault(one.probe, []).append(one)
        for probe, several in by_probe.items():
            values = [one.value for one in several if one.value is not None]
            found.setdefault(probe, {})[phase.name] = Kept(
                len(several),
                min(values, default=None),
                max(values, default=None),
                round(sum(one.within for one in several) / len(several), 4),
            )
    return found


class Watch:
    """Measures all probes of a run again and again, from `run` on until it is cancelled.

    Every measurement is kept in `measurements` and appended to `path` as a line of JSON. Where ops
    are `sparse`, as in a script of a few of them, nothing to measure is nothing wrong.
    """

    def __init__(
        self,
        look: Look,
        now: Callable[[], int],
        path: Path,
        *,
        steady_state: Sequence[Probe],
        stop: Sequence[StopWhen | StopAfter],
        sparse: bool = False,
        asked_to_stop: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.measurements: list[Measurement] = []
        self._look = look
        self._now = now
        self._path = path
        self._steady = steady_state
        self._limits = [one for one in stop if isinstance(one, StopAfter)]
        self._bounds = [one for one in stop if isinstance(one, StopWhen)]
        self._sparse = sparse
        self._asked_to_stop = asked_to_stop
        probes = [*steady_state, *(one.probe for one in self._bounds)]
        # One that is both in the hypothesis and in a stop condition is measured once. Other bounds
        # of a stop condition go by another name: they say nothing about the hypothesis.
        self._probes = {_id(probe): probe for probe in probes}
        hypothesis = {_id(probe) for probe in steady_state}
        self._names = {
            id: probe.name if id in hypothesis else f"{STOPPING}{probe.name}"
            for id, probe in self._probes.items()
        }
        self._out_since: dict[int, int] = {}
        self._turn = asyncio.Condition()
        self._latest: dict[str, Measurement] = {}

    async def run(self) -> None:
        """Measure until cancelled. Raises `AbortedError` as soon as a stop condition is met."""
        begun = self._now()
        while True:
            if (reason := self._asked_to_stop()) is not None:
                raise AbortedError(f"The run was stopped: {reason}.")
            for limit in self._limits:
                if self._now() - begun >= limit.limit_s * 1e9:
                    raise AbortedError(
                        f"The run was stopped: it took longer than {limit.limit_s:g} s.",
                        why="stop_after is the most that the experiment may take.",
                    )
            if self._probes:
                await self._measure_all()
            await asyncio.sleep(INTERVAL_S)

    async def steady_since(self, since: int, bound_s: float) -> list[str]:
        """Wait until every probe of the steady state was within its tolerance at once, measured
        after `since` (nanoseconds of the run). After `bound_s` seconds: what was not, in words."""
        if not self._steady:
            return []
        wrong: list[str] = []
        try:
            async with asyncio.timeout(bound_s), self._turn:
                while True:
                    wrong = self._wrong(since)
                    if not wrong:
                        return []
                    await self._turn.wait()
        except TimeoutError:
            return wrong

    def _wrong(self, since: int) -> list[str]:
        wrong = []
        for probe in self._steady:
            latest = self._latest.get(_id(probe))
            if latest is None or latest.time < since:
                wrong.append(f"{probe.name} was not measured")
            elif self._sparse and latest.value is None and not latest.error:
                continue
            elif not latest.within:
                wrong.append(f"{probe.name} {_told(latest)} ({probe.tolerance} is demanded)")
        return wrong

    async def _measure_all(self) -> None:
        found = await asyncio.gather(*(self._measure(probe) for probe in self._probes.values()))
        lines = b"".join(
            orjson.dumps(_line(one), option=orjson.OPT_APPEND_NEWLINE) for one in found
        )
        with self._path.open("ab") as file:
            file.write(lines)
        self.measurements += found
        async with self._turn:
            self._latest = dict(zip(self._probes, found, strict=True))
            self._turn.notify_all()
        for number, condition in enumerate(self._bounds):
            self._act_on(number, condition, self._latest[_id(condition.probe)])

    async def _measure(self, probe: Probe) -> Measurement:
        name = self._names[_id(probe)]
        # The moment before: what is measured may be older than the answer, never newer.
        time = self._now()
        try:
            async with asyncio.timeout(MEASURE_TIMEOUT_S):
                if inspect.iscoroutinefunction(probe.measure):
                    answer = await probe.measure(self._look)
                else:
                    answer = await asyncio.to_thread(probe.measure, self._look)
            value = None if answer is None else float(answer)
        except Exception as error:
            code = getattr(inspect.unwrap(probe.measure), "__code__", None)
            own = code is not None and origin(error)[0] == code.co_filename
            if own and isinstance(error, PROGRAMMING):
                raise UsageError(
                    f"The probe {probe.name} failed.",
                    why=with_place(error),
                    do="Correct its function.",
                ) from error
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            return Measurement(time, name, None, False, reason)
        return Measurement(time, name, value, probe.within(value))

    def _act_on(self, number: int, condition: StopWhen, latest: Measurement) -> None:
        # Nothing to measure is no reason to stop: a pause of the workload would end the run.
        if latest.within or (latest.value is None and not latest.error):
            self._out_since.pop(number, None)
            return
        since = self._out_since.setdefault(number, latest.time)
        out_s = (latest.time - since) / 1e9
        if out_s >= condition.lasting_s:
            probe = condition.probe
            raise AbortedError(
                f"The run was stopped: {probe.name} {_told(latest)}, and had been out of bounds "
                f"for {out_s:.1f} s.",
                why=f"The stop condition demands {probe.tolerance}, but for less than "
                f"{condition.lasting_s:g} s.",
            )


def _id(probe: Probe) -> str:
    return f"{probe.name} {probe.tolerance}"


def _told(latest: Measurement) -> str:
    if latest.error:
        return f"could not be measured ({latest.error})"
    return "had nothing to measure" if latest.value is None else f"was {latest.value:.4g}"


def _line(one: Measurement) -> dict[str, object]:
    line: dict[str, object] = {
        "time": one.time,
        "probe": one.probe,
        "value": one.value,
        "within": one.within,
    }
    return {**line, "error": one.error} if one.error else line
