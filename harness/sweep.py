"""The summary of a sweep: how an experiment fared under many seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.rate import Rate


@dataclass(frozen=True)
class Swept:
    """One run of a sweep: `failure` is its signature in words, empty if it passed; `seconds` is
    what the run took from its first process to its last."""

    experiment: str
    seed: int
    outcome: str
    failure: str
    seconds: float
    folder: str

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


_ORDER = ("failed", "unsteady", "unknown", "broken", "aborted", "passed")


def sweeps(runs: Sequence[Swept]) -> dict[str, list[Swept]]:
    """The experiments that had more than one seed, each with its runs: those that did not pass
    first, by outcome and signature."""
    by_experiment: dict[str, list[Swept]] = {}
    for run in runs:
        by_experiment.setdefault(run.experiment, []).append(run)
    return {
        name: sorted(mine, key=lambda run: (_ORDER.index(run.outcome), run.failure, run.seed))
        for name, mine in by_experiment.items()
        if len({run.seed for run in mine}) > 1
    }


def headline(runs: Sequence[Swept]) -> str:
    """How many seeds ended how, how often the experiment fails, and the time a seed took."""
    outcomes = Counter(run.outcome for run in runs)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    judged = [run for run in runs if run.outcome in ("passed", "failed", "unsteady")]
    rate = Rate(sum(not run.passed for run in judged), len(judged))
    low, high = rate.interval()
    took = sorted(run.seconds for run in runs)
    times = f"{median(took):.1f} s a seed ({took[0]:.1f}-{took[-1]:.1f})"
    return (
        f"{len(runs)} seeds: {told}; fails under {rate.share:.0%} of "
        f"{'those judged' if len(judged) < len(runs) else 'seeds'} "
        f"(95 % interval {low:.0%}-{high:.0%}); {times}"
    )


def verdicts(runs: Sequence[Swept]) -> list[str]:
    """What was found, each signature with the number of seeds that show it, the commonest first."""
    found = Counter(run.failure or run.outcome for run in runs if not run.passed)
    return [f"{count} × {failure}" for failure, count in found.most_common()]


def line(run: Swept) -> str:
    """One seed."""
    told = f"seed {run.seed:<16} {run.seconds:5.1f} s"
    failure = f"  {run.failure}" if run.failure and not run.passed else ""
    return f"{told}{failure}  {run.folder}"
