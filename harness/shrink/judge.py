"""Judging candidates by carrying them out, as many at once as there are workers.

A result never depends on which run ended first: of a batch, the first acceptable candidate in
order is taken, and the runs of one candidate count in the order in which the log has them.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property

from harness.errors import HarnessError
from harness.failure import Failure
from harness.plan import Plan
from harness.rate import Rate
from harness.replay.repeat import Carry, Repeat
from harness.shrink import edits
from harness.shrink.log import Known, Log
from harness.shrink.rate import Rule

_LOOK_S = 60.0
"""How long one wait for a run takes at most; the runs bound themselves."""


@dataclass(frozen=True)
class Budget:
    """What a shrink may spend: runs, and seconds on the clock. None is no limit. A run that is
    under way when the time is up is waited for."""

    runs: int | None = None
    seconds: float | None = None


class SpentError(Exception):
    """The budget is spent, and something is undecided."""


@dataclass(frozen=True)
class Candidate:
    """A plan that may be accepted, and what it is in words."""

    plan: Plan
    what: str

    @cached_property
    def digest(self) -> str:
        return edits.digest(self.plan)


class Judge:
    """Decides about candidates, within a budget."""

    def __init__(
        self,
        carry: Carry,
        wanted: Failure,
        log: Log,
        *,
        at_once: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._carry = carry
        self._wanted = wanted
        self._log = log
        self._at_once = max(1, at_once)
        self._clock = clock
        self._begun_s = clock()
        self._flying: dict[Future[Repeat], Candidate] = {}
        self._read: dict[str, int] = {}
        """Digest → how many of its results were looked at for a decision."""
        self._failed: dict[str, HarnessError] = {}
        self._decided: dict[str, bool] = {}
        self.limit = Budget()
        self.runs = 0
        """Runs that were started here, those of earlier calls not counted."""
        self.missed = 0
        """How many runs in a row did not fail as wanted."""

    @property
    def seconds(self) -> float:
        """How long this has been going on."""
        return self._clock() - self._begun_s

    def first(
        self, batch: Sequence[Candidate | None], rule: Rule, *, hopeful: bool = False
    ) -> int | None:
        """The first candidate of `batch` that fails often enough; None if there is none. A
        candidate that is None is none. `hopeful` says that the first ones probably will do: only
        workers that those do not need go to the others. Raises `SpentError` if the budget does not
        last."""
        jobs = [
            _Job(candidate, self._known(candidate), 0, rule)
            for candidate in batch
            if candidate is not None
        ]
        numbers = [number for number, candidate in enumerate(batch) if candidate is not None]
        chosen = self._settle(jobs, hopeful=hopeful)
        return None if chosen is None else numbers[chosen]

    def afresh(self, candidate: Candidate, rule: Rule) -> tuple[bool, Rate]:
        """Judge by runs that have not been looked at yet: those that led to a candidate's being
        chosen flatter it. Whether it was accepted, and what was seen."""
        known = self._known(candidate)
        job = _Job(candidate, known, self._read.get(candidate.digest, 0), rule)
        accepted = self._settle([job], hopeful=True, afresh=True) is not None
        return accepted, job.rate

    def seen(self, candidate: Candidate, since: int = 0, until: int | None = None) -> Rate:
        """How often a candidate has failed, by its results number `since` up to `until`."""
        results = self._known(candidate).results[since:until]
        return Rate(sum(results), len(results))

    def looked_at(self, candidate: Candidate) -> int:
        """How many of a candidate's results were used so far."""
        return self._read.get(candidate.digest, 0)

    def refuse(self, candidate: Candidate) -> None:
        """Never accept this candidate again: it was confirmed, and did not hold."""
        self._decided[candidate.digest] = False

    def why_not(self, candidate: Candidate) -> HarnessError | None:
        """What the infrastructure said when a candidate could not be carried out."""
        return self._failed.get(candidate.digest)

    def close(self) -> None:
        """Take back what has not begun."""
        for future in self._flying:
            future.cancel()

    def _known(self, candidate: Candidate) -> Known:
        return self._log.known.setdefault(candidate.digest, Known())

    def _settle(self, jobs: list[_Job], *, hopeful: bool, afresh: bool = False) -> int | None:
        """The number of the first job that is accepted. The only place where runs are started and
        waited for."""
        while True:
            for number, job in enumerate(jobs):
                decided = None if afresh else self._decided.get(job.candidate.digest)
                if decided is None:
                    decided, read = job.rule.decide(job.results)
                    if decided is None:
                        break
                    digest = job.candidate.digest
                    self._read[digest] = max(self._read.get(digest, 0), job.start + read)
                    job.read = read
                    self._log.judged(digest, job.candidate.what, decided, str(job.rate))
                if decided:
                    return number
            else:
                return None
            self._start(jobs[number:], hopeful)
            if not self._flying:
                raise SpentError
            self._wait()

    def _start(self, jobs: Sequence[_Job], hopeful: bool) -> None:
        """Start runs, those of the first jobs first. If that is hoped for, as many as it takes to
        accept a job; else those that any decision about it needs, then those, too."""
        for certain in (False,) if hopeful else (True, False):
            for job in jobs:
                digest = job.candidate.digest
                flying = sum(one.digest == digest for one in self._flying.values())
                results = job.results
                wanted = job.rule.needs(results)
                if wanted and not certain:
                    wanted = max(job.rule.hits - sum(results), job.rule.least - len(results))
                for _ in range(wanted - flying):
                    if len(self._flying) >= self._at_once or not self._affordable():
                        return
                    self.runs += 1
                    self._flying[self._carry(job.candidate.plan)] = job.candidate

    def _affordable(self) -> bool:
        runs, seconds = self.limit.runs, self.limit.seconds
        return (runs is None or self.runs < runs) and (seconds is None or self.seconds < seconds)

    def _wait(self) -> None:
        """Wait until a run has ended, and write down how."""
        waiting = concurrent.futures.FIRST_COMPLETED
        done, _ = concurrent.futures.wait(self._flying, _LOOK_S, waiting)
        # In the order in which they were started: sets have none.
        for future in [future for future in self._flying if future in done]:
            self._ended(self._flying.pop(future), future)

    def _ended(self, candidate: Candidate, future: Future[Repeat]) -> None:
        known, digest = self._known(candidate), candidate.digest
        try:
            repeat = future.result()
        except HarnessError as error:
            self._failed[digest] = error
            # Once it may have been the machine; twice it is the plan.
            counts, said = known.spoilt > 0, f"{type(error).__name__}: {error}"
            self._log.ran(digest, candidate.what, hit=False, counts=counts, outcome=said)
            return
        hit = repeat.reproduced(self._wanted)
        self.missed = 0 if hit else self.missed + 1
        self._log.ran(
            digest,
            candidate.what,
            hit=hit,
            counts=hit or not _says_nothing(repeat) or known.spoilt > 0,
            outcome=repeat.outcome,
            failures=[str(failure) for failure in repeat.failures],
            seconds=round(repeat.seconds, 3),
            ops=repeat.ops,
            run=repeat.folder.name,
        )


def _says_nothing(repeat: Repeat) -> bool:
    """Whether a run came to nothing that its plan could be blamed for: it was broken, or the
    cluster was not steady before anything was done to it, as on a busy machine."""
    return repeat.outcome == "broken" or any(
        failure.check == "unsteady" and "before-faults" in failure.anomalies
        for failure in repeat.failures
    )


@dataclass
class _Job:
    """A candidate that is being judged by its results from number `start` on."""

    candidate: Candidate
    known: Known
    start: int
    rule: Rule
    read: int | None = None

    @property
    def results(self) -> list[bool]:
        return self.known.results[self.start :]

    @property
    def rate(self) -> Rate:
        read = self.results[: self.read]
        return Rate(sum(read), len(read))
