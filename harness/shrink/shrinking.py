"""Shrinking a plan: the passes in turn, each from the smallest plan so far, until none helps.

The order is that of gain for the time it costs. Faults go first: they are what a person wants to
know, few, and what is left of them says how long a run must be. Then the run is made shorter, which
makes every further run quicker; then ops go by large steps; then the rest.

Candidates are taken by few runs, as runs are dear. What that lets through is found at the end: the
smallest plan is confirmed by ten new runs, and given up for an earlier one if it fails too seldom.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.failure import Failure
from harness.plan import Plan
from harness.rate import Rate
from harness.replay.repeat import Carry
from harness.shrink import edits, passes
from harness.shrink.aloud import count, seconds, sentence
from harness.shrink.hints import Hints
from harness.shrink.judge import Budget, Candidate, Judge, SpentError
from harness.shrink.log import Log
from harness.shrink.passes import Care, Steps
from harness.shrink.rate import Rule, confirming, rule

FIRST_RUNS = 5
"""A plan that fails in none of so many runs is given up."""

FIRST_HITS = 3
"""So many failures are enough to begin with."""

DOUBT_RUNS = 8
"""After so many runs in a row without the failure, the best plan is tried once more."""

CONFIRMING_RUNS = 10
"""The runs that say how often the shrunk plan fails."""

WANTED = 0.9
"""The share of them that must fail, unless the plan that was given fails less often."""

TARGET = 0.2
"""From this share of the ops on, steps are small: a candidate has to fail once more to be taken."""

_HITS: dict[Care, int] = {"quick": 1, "usual": 2, "careful": 3}
"""How often a candidate must fail to be accepted; see `harness.shrink.rate.Rule`."""

MORE_HITS = 2
"""So many more are asked for once a plan that was accepted has failed too seldom."""

PROGRESS = 0.1
"""Another round is worth it if the last one saved so much of the ops, of the time, or a fault."""

Pass = Callable[[Plan, Hints, int], Steps]

_PASSES: Sequence[tuple[str, Pass]] = (
    ("faults", passes.fewer_faults),
    ("length", passes.shorter),
    ("faults", passes.each_fault),
    ("load", passes.no_load),
    ("ops", passes.fewer_ops),
    ("length of faults", passes.shorter_faults),
    ("length", passes.shorter),
    ("clients", passes.fewer_clients),
    ("keys", passes.fewer_keys),
    ("nodes", passes.fewer_nodes),
    ("ops", passes.fewer_moments),
    ("ops", passes.single_ops),
)


@dataclass(frozen=True)
class Shrunk:
    """What a shrink came to.

    `plan` is the smallest that was accepted, `given` the one it began with. `rate` says how often
    `plan` failed, in runs that had no part in choosing it if `confirmed`; `original` the same of
    `given`. `why` it ended: `done` (no pass helps any more), `spent` (the budget), or `not
    reproduced` (`given` did not fail again; `plan` is it then). `runs` and `seconds` are what this
    call took, `known` the runs that the log held before.
    """

    plan: Plan
    given: Plan
    rate: Rate
    original: Rate
    why: str
    confirmed: bool
    runs: int
    known: int
    seconds: float

    @property
    def reproduced(self) -> bool:
        """Whether the given plan failed again at all."""
        return self.original.hits > 0

    @property
    def faults(self) -> tuple[int, int]:
        """How many faults there were, and are."""
        return len(self.given.faults), len(self.plan.faults)

    @property
    def ops(self) -> tuple[int, int]:
        """How many ops there were, and are."""
        return len(self.given.ops or ()), len(self.plan.ops or ())

    @property
    def sentence(self) -> str:
        """The shrunk plan, read aloud."""
        return sentence(self.plan)

    def __str__(self) -> str:
        if not self.reproduced:
            return f"not reproduced in {count(self.original.runs, 'run')}: {self.sentence}"
        lines = [self.sentence, f"  {self.rate}{'' if self.confirmed else ', not confirmed'}"]
        faults, ops = self.faults, self.ops
        lines.append(
            f"  faults {faults[0]} → {faults[1]}, ops {ops[0]} → {ops[1]}, "
            f"{seconds(edits.length(self.given))} → {seconds(edits.length(self.plan))}"
        )
        spent = f"{count(self.runs, 'run')}, {self.seconds:.0f} s"
        before = f" after {count(self.known, 'run')} of an earlier one" if self.known else ""
        ended = "; the budget is spent" if self.why == "spent" else ""
        return "\n".join([*lines, f"  {spent}{before}{ended}"])


def shrink(
    plan: Plan,
    wanted: Failure,
    carry: Carry,
    *,
    folder: Path,
    at_once: int = 1,
    budget: Budget | None = None,
    hints: Hints | None = None,
    tell: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
) -> Shrunk:
    """Find a smaller plan that still fails as `wanted`; `plan` should list its ops.

    `carry` carries out plans, `at_once` of them at the same time. `folder` (made if it is missing)
    always holds the best plan so far, `plan.json`, and every run, `log.jsonl`; a shrink that was
    stopped, by the budget or by Ctrl-C, goes on from there when it is called again with the same
    plan. `tell` gets a line for each step.

    Raises `UsageError` if `folder` belongs to the shrink of another plan, and what `carry` failed
    with if not even `plan` could be carried out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Log(folder / "log.jsonl", edits.digest(plan), wanted) as log:
        judge = Judge(carry, wanted, log, at_once=at_once, clock=clock)
        try:
            return _Shrinking(plan, wanted, judge, log.runs, folder, at_once, hints, tell).go(
                budget or Budget()
            )
        finally:
            judge.close()


class _Shrinking:
    """One shrink under way. `chain` are the plans that were accepted, each smaller than the one
    before."""

    def __init__(
        self,
        plan: Plan,
        wanted: Failure,
        judge: Judge,
        known: int,
        folder: Path,
        at_once: int,
        hints: Hints | None,
        tell: Callable[[str], None],
    ) -> None:
        self._wanted = wanted
        self._judge = judge
        self._known = known
        self._folder = folder
        self._ways = min(at_once, 3)
        self._hints = hints or Hints()
        self._tell = tell
        self.chain = [Candidate(plan, "the plan as it was given")]
        self._original = Rate()
        self._seen = [Rate()]
        """How often each plan of the chain has failed. (One lucky run that led to its being taken
        says nothing about the rate, and is left out.)"""
        self._spent = False
        self._doubtful = False
        """Whether the best plan was accepted by one run, which may have been luck."""
        self._reassured = False
        """Whether the best plan was tried once more, because nothing smaller failed."""
        self._more_hits = 0

    @property
    def best(self) -> Candidate:
        return self.chain[-1]

    def go(self, budget: Budget) -> Shrunk:
        """All of it. Some of the budget is kept for confirming."""
        judge = self._judge
        reserve = 0 if budget.runs is None else min(CONFIRMING_RUNS, budget.runs // 4)
        judge.limit = limit = Budget(
            None if budget.runs is None else budget.runs - reserve,
            None if budget.seconds is None else 0.85 * budget.seconds,
        )
        if self._known:
            self._tell(f"going on from {count(self._known, 'run')} in the log")
        try:
            if not self._reproduce():
                return self._shrunk("not reproduced", self._original, confirmed=False)
            self._rounds()
        except SpentError:
            self._spent = True
        if not self._original.hits:
            return self._shrunk("not reproduced", self._original, confirmed=False)
        judge.limit = budget
        longest = len(self.chain)
        rate, confirmed = self._confirm()
        if len(self.chain) < longest and not self._spent:
            # What was refused may have been too much at once, or taken too easily.
            self._more_hits, held = MORE_HITS, self.best
            self._tell(f"back to {sentence(self.best.plan)}; going on from there with more care")
            try:
                judge.limit = limit
                self._rounds()
            except SpentError:
                self._spent = True
            judge.limit = budget
            if self.best is not held:
                rate, confirmed = self._confirm()
        return self._shrunk("spent" if self._spent else "done", rate, confirmed)

    def _reproduce(self) -> bool:
        """Carry out the given plan until it is known how often it fails, more or less."""
        given = self.best
        spent = False
        try:
            _, self._original = self._judge.afresh(given, Rule(FIRST_HITS, FIRST_RUNS))
        except SpentError:
            self._original, spent = self._judge.seen(given), True
        self._seen = [self._original]
        self._tell(f"the plan as it was given: {self._original}")
        if self._original.hits:
            self._keep()
        elif (error := self._judge.why_not(given)) is not None:
            raise error
        if spent:
            raise SpentError
        return self._original.hits > 0

    def _rounds(self) -> None:
        """All passes, until a whole round makes no progress."""
        progress = True
        while progress:
            before = self.best.plan
            for name, make in _PASSES:
                self._pass(name, make)
                # The next pass may confirm what was taken quickly, by a shorter run.
                if self._doubtful and name != "faults":
                    self._hold()
            progress = _progress(before, self.best.plan)
        self._pass("figures", passes.readable_figures)

    def _pass(self, name: str, make: Pass) -> None:
        """One pass from the best plan on."""
        judge, before = self._judge, self.best
        runs, begun_s = judge.runs, judge.seconds
        spent = False
        try:
            steps = make(before.plan, self._hints, self._ways)
            got: int | None = None
            while True:
                tried = steps.send(got)
                enough = self._rule(tried.care)
                got = judge.first(tried.candidates, enough, hopeful=tried.hopeful)
                if got is not None:
                    self._accept(tried.candidates[got], quickly=tried.care == "quick")
                elif judge.missed >= DOUBT_RUNS and not self._reassured:
                    # Perhaps what was accepted last does not fail itself.
                    trusted, self._reassured = self.best, True
                    self._hold()
                    if self.best is not trusted:
                        break
        except StopIteration:
            pass
        except SpentError:
            spent = True
            raise
        finally:
            self._report(name, before, judge.runs - runs, judge.seconds - begun_s, spent=spent)
        if edits.length(self.best.plan) != edits.length(before.plan):
            self._hints = replace(self._hints, window_s=None)  # (times mean something else now)

    def _hold(self) -> None:
        """Step back from what was accepted by one lucky run."""
        self._doubtful = False
        while len(self.chain) > 1:
            held, rate = self._judge.afresh(self.best, self._rule("usual"))
            if held:
                self._seen[-1] += rate
                return
            self._tell(f"back: {self.best.what} was luck ({rate})")
            self._judge.refuse(self.best)
            self.chain.pop()
            self._seen.pop()
            self._keep()

    def _confirm(self) -> tuple[Rate, bool]:
        """How often the best plan fails; if that is too seldom, an earlier one is the best: the
        smallest that fails often enough, found by larger and larger steps back and bisection."""
        tried: dict[int, Rate] = {}
        held: int | None = None
        failed, step = len(self.chain), 1
        try:
            while held is None and failed > 0:
                at = max(0, failed - step)
                if self._holds(at, tried):
                    held = at
                else:
                    failed, step = at, 2 * step if tried else 1
            while held is not None and failed - held > 1:
                at = (held + failed) // 2
                if self._holds(at, tried):
                    held = at
                else:
                    failed = at
        except SpentError:
            self._spent = True
        if not tried:
            return self._judge.seen(self.best), False
        # If none held, larger plans fail no more often, it seems.
        at = held if held is not None else _smallest_of_equals(tried)
        if at < len(self.chain) - 1:
            for candidate in self.chain[at + 1 :]:
                self._judge.refuse(candidate)
            del self.chain[at + 1 :], self._seen[at + 1 :]
            self._keep()
        return tried[at], True

    def _holds(self, at: int, tried: dict[int, Rate]) -> bool:
        """Whether the plan number `at` of the chain fails often enough, by new runs, which are
        noted in `tried`, also if the budget ends in the midst of them."""
        candidate = self.chain[at]
        since, held, rate = self._judge.looked_at(candidate), False, Rate()
        enough = confirming(CONFIRMING_RUNS, self._wanted_rate(at))
        try:
            held, rate = self._judge.afresh(candidate, enough)
        except SpentError:
            rate = self._judge.seen(candidate, since)
            raise
        finally:
            if rate.runs:
                tried[at] = rate
                self._seen[at] += rate
                self._tell(f"confirming {sentence(candidate.plan)}: {rate}")
        return held

    def _wanted_rate(self, at: int) -> float:
        """How often the plan number `at` of the chain must fail to be the last word: no oftener
        than the given plan did, nor than the larger plans before it, where those make plain that
        nine of ten is out of reach. (Of them the first quarter: what is looked for are plans that
        fail less often than those before.)"""
        larger = sum(self._seen[: at // 4 + 1], Rate())
        low, high = larger.interval()
        return min(WANTED, self._original.share, WANTED if high >= WANTED else low)

    def _rule(self, care: Care) -> Rule:
        ops = self.chain[0].plan.ops
        if care == "usual" and ops and len(self.best.plan.ops or ()) <= TARGET * len(ops):
            care = "careful"
        return rule(_HITS[care] + self._more_hits, sum(self._seen, Rate()).expected)

    def _accept(self, candidate: Candidate | None, *, quickly: bool) -> None:
        assert candidate is not None
        if candidate.digest == self.best.digest:
            return
        self.chain.append(candidate)
        self._doubtful, self._reassured = quickly, False
        looked_at = 0 if quickly else self._judge.looked_at(candidate)
        self._seen.append(self._judge.seen(candidate, 0, looked_at))
        self._keep()

    def _keep(self) -> None:
        """Have the best plan on disk, as one that is kept for this failure."""
        self._marked(self.best.plan).write(self._folder / "plan.json")

    def _marked(self, plan: Plan) -> Plan:
        return replace(plan, about=sentence(plan), failure=self._wanted.to_json())

    def _report(
        self, name: str, before: Candidate, runs: int, took_s: float, *, spent: bool
    ) -> None:
        cost = f"({count(runs, 'run')}, {took_s:.0f} s)"
        if self.best is not before:
            self._tell(f"{name}: {_changed(before.plan, self.best.plan)} {cost}")
        elif runs and not spent:
            self._tell(f"{name}: nothing smaller {cost}")
        if spent:
            self._tell(f"{name}: not finished, the budget is spent")

    def _shrunk(self, why: str, rate: Rate, confirmed: bool) -> Shrunk:
        return Shrunk(
            plan=self._marked(self.best.plan),
            given=self.chain[0].plan,
            rate=rate,
            original=self._original,
            why=why,
            confirmed=confirmed,
            runs=self._judge.runs,
            known=self._known,
            seconds=self._judge.seconds,
        )


def _smallest_of_equals(tried: dict[int, Rate]) -> int:
    """The last, and so the smallest, that is not clearly worse than the best."""
    best = max(tried.values(), key=lambda rate: rate.interval()[0])
    return max(at for at, rate in tried.items() if rate.interval()[1] >= best.interval()[0])


def _changed(before: Plan, after: Plan) -> str:
    """What became smaller: "faults 7 → 1, 20 s → 6.5 s"."""
    figures = [
        ("faults", len(before.faults), len(after.faults)),
        ("clients", _clients(before), _clients(after)),
        ("ops", len(before.ops or ()), len(after.ops or ())),
    ]
    told = [f"{what} {one} → {other}" for what, one, other in figures if one != other]
    lengths = edits.length(before), edits.length(after)
    if not math.isclose(*lengths, abs_tol=0.01):
        told.append(f"{seconds(lengths[0])} → {seconds(lengths[1])}")
    return ", ".join(told) or "simpler"


def _progress(before: Plan, after: Plan) -> bool:
    """Whether enough has changed for passes that found nothing to find something."""
    if len(after.faults) < len(before.faults):
        return True
    shares = [edits.length(after) / edits.length(before)]
    if before.ops and after.ops:
        shares.append(len(after.ops) / len(before.ops))
    return min(shares) <= 1 - PROGRESS


def _clients(plan: Plan) -> int:
    return len({op.client for op in plan.ops or ()})
