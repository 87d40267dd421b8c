"""How many runs a shrink takes: `python tests/benchmarks/bench_shrink.py [plans]`.

Synthetic plans of 12 to 16 faults, of which two are needed, and 300 ops, of which some are. An
oracle takes the place of the cluster; flaky ones fail in a share of the runs only. Not seconds are
counted but runs; the three that first show that the plan fails are among them. Every figure is the
median over the plans, with the ninth of ten in brackets.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.plan import Plan
from harness.shrink import Hints, shrink
from harness.shrink.search import Search, ddmin, smallest, without_one
from tests.support.synthetic import LOST, Oracle, needs, plan_of

PLANS = 60
HYPOTHESIS_PLANS = 20
OPS = 300
RATES = (1.0, 0.9, 0.7)
BUDGET = 15


def main() -> None:
    plans = int(sys.argv[1]) if len(sys.argv) > 1 else PLANS
    print(f"runs until two of 12 to 16 faults are left, {plans} plans; {BUDGET} are allowed")
    print(f"  smallest, without shrink around it  {_searched(plans, _bisected)}")
    print(f"  ddmin, without shrink around it     {_searched(plans, lambda n: ddmin(range(n)))}")
    some = min(plans, HYPOTHESIS_PLANS)
    print(f"  Hypothesis, the faults as flags     {_hypothesis(some, _flags)}")
    print(f"  Hypothesis, faults with times       {_hypothesis(some, _events)}")
    print()
    print("a whole shrink; runs until …")
    head = (
        "failing in",
        "hints",
        "two faults",
        "+ 20 % of ops",
        "the end",
        "faults",
        "ops",
        "rate",
    )
    print("".join(f"{word:>16}" for word in head))
    for rate in RATES:
        for hints in ("none", "right", "wrong"):
            print("".join(f"{word:>16}" for word in _shrunk(plans, rate, hints)))


def _shrunk(plans: int, rate: float, hinted: str) -> Sequence[str]:
    """A line of the table."""
    two: list[int] = []
    small: list[int] = []
    ends: list[int] = []
    left: list[int] = []
    ops: list[int] = []
    rates: list[float] = []
    for seed in range(plans):
        rng = random.Random(seed)
        events = rng.randint(12, 16)
        plan = plan_of(events, ops=OPS, seed=seed)
        needed = [fault.id for fault in rng.sample(plan.faults, 2)]
        others = [fault.id for fault in rng.sample(plan.faults, 3)]
        # The failure wants any three of the ops that begin while the last needed fault holds.
        oracle = Oracle(_some_ops_amid(needed, 3), rate, seed)
        hints = {"none": Hints(), "right": Hints(frozenset({*needed, others[0]}))}
        hints["wrong"] = Hints(frozenset(others))
        with tempfile.TemporaryDirectory() as folder:
            shrunk = shrink(plan, LOST, oracle, folder=Path(folder), hints=hints[hinted])
        if not shrunk.reproduced:
            continue
        few = _accepted(oracle, lambda plan: len(plan.faults) <= 2)
        two.append(few)
        less = _accepted(
            oracle, lambda plan: len(plan.faults) <= 2 and len(plan.ops or ()) <= OPS // 5
        )
        small.append(less)
        ends.append(oracle.runs)
        left.append(shrunk.faults[1])
        ops.append(shrunk.ops[1])
        rates.append(shrunk.rate.share)
    mean = statistics.mean(rates)
    return (
        f"{rate:.0%}", hinted, _figures(two), _figures(small), _figures(ends), _figures(left),
        _figures(ops), f"{mean:.2f}",
    )  # fmt: skip


def _some_ops_amid(ids: Sequence[str], count: int) -> Callable[[Plan], bool]:
    faults_here = needs(ids)

    def holds(plan: Plan) -> bool:
        if not faults_here(plan):
            return False
        fault = max((fault for fault in plan.faults if fault.id in ids), key=lambda f: f.at_s)
        from_s, to_s = fault.at_s - 2, fault.at_s + fault.lasting_s + 2
        return sum(from_s <= op.at_s <= to_s for op in plan.ops or ()) >= count

    return holds


def _accepted(oracle: Oracle, reached: Callable[[Plan], bool]) -> int:
    """The number of the first run that failed as wanted with such a plan; if none did, all."""
    for number, (plan, hit) in enumerate(zip(oracle.plans, oracle.hits, strict=True), start=1):
        if hit and reached(plan):
            return number
    return oracle.runs


def _bisected(events: int) -> Search[int]:
    found = yield from smallest(range(events))
    return (yield from without_one(found))


def _searched(plans: int, make: Callable[[int], Search[int]]) -> str:
    """Tries of a search alone, until it ends, on an oracle that always answers the same."""
    counts = []
    for seed in range(plans):
        rng = random.Random(seed)
        events = rng.randint(12, 16)
        needed = set(rng.sample(range(events), 2))
        search, tried = make(events), set[frozenset[int]]()
        try:
            batch = next(search)
            while True:
                got = None
                for number, part in enumerate(batch):
                    tried.add(frozenset(part))
                    if needed <= set(part):
                        got = number
                        break
                batch = search.send(got)
        except StopIteration as end:
            assert set(end.value) == needed
        counts.append(len(tried))
    return _figures(counts)


def _hypothesis(plans: int, events_as: Callable[[int], st.SearchStrategy[set[int]]]) -> str:
    """Executions that Hypothesis takes from its first failing example on, until it ends. (It cannot
    be given a failing example to shrink.)"""
    counts = []
    for seed in range(plans):
        rng = random.Random(seed)
        events = rng.randint(12, 16)
        needed = set(rng.sample(range(events), 2))
        tried: list[set[int]] = []
        quiet = settings(
            database=None,
            derandomize=True,
            max_examples=10_000,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        with contextlib.suppress(AssertionError):
            quiet(given(events_as(events))(_failing(needed, tried)))()
        assert tried[-1] == needed
        counts.append(len(tried))
    return _figures(counts)


def _flags(events: int) -> st.SearchStrategy[set[int]]:
    """For each fault whether it happens."""
    flags = st.lists(st.booleans(), min_size=events, max_size=events)
    return flags.map(lambda chosen: {number for number, kept in enumerate(chosen) if kept})


def _events(events: int) -> st.SearchStrategy[set[int]]:
    """A list of faults, each with a kind, a moment and how long it lasts: what is drawn, and
    shrunk, by a user's own strategy."""
    times = st.integers(0, 60_000), st.integers(100, 5_000)
    listed = st.lists(st.tuples(st.integers(0, events - 1), *times), max_size=2 * events)
    return listed.map(lambda chosen: {number for number, _, _ in chosen})


def _failing(needed: set[int], tried: list[set[int]]) -> Callable[[set[int]], None]:
    def test(chosen: set[int]) -> None:
        if tried or needed <= chosen:
            tried.append(chosen)
        assert not needed <= chosen

    return test


def _figures(values: Sequence[int]) -> str:
    """ "12 (15)": the median, and the ninth of ten."""
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{statistics.median(ordered):g} ({ordered[int(0.9 * (len(ordered) - 1))]})"


if __name__ == "__main__":
    main()
