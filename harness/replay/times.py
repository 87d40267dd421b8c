"""Replaying a plan a number of times, to see how often it fails the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from harness import report
from harness.errors import HarnessError
from harness.failure import Failure
from harness.plan import Plan
from harness.rate import Rate
from harness.record.folder import RunFolder
from harness.replay.repeat import Repeat
from harness.replay.workers import Workers


@dataclass(frozen=True)
class Replays:
    """What became of a number of replays. `broken` are the reasons of those that left no run."""

    wanted: Failure | None
    repeats: tuple[Repeat, ...]
    broken: tuple[str, ...]

    @property
    def reproduced(self) -> int:
        """How many failed the same way."""
        if self.wanted is None:
            return 0
        return sum(repeat.reproduced(self.wanted) for repeat in self.repeats)

    @property
    def summary(self) -> str:
        """Of the last line: how many failed the same way, or how they ended."""
        judged = [one for one in self.repeats if one.outcome not in ("broken", "aborted")]
        unjudged = len(self.repeats) - len(judged) + len(self.broken)
        but = f" ({unjudged} could not be judged)" if unjudged else ""
        if self.wanted is not None:
            rate = Rate(self.reproduced, len(judged))
            low, high = rate.interval()
            return (
                f"{rate.hits} of {rate.runs} failed the same way: {self.wanted} "
                f"(95 % interval {low:.2f}-{high:.2f}){but}."
            )
        outcomes = Counter(repeat.outcome for repeat in judged)
        told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        return f"The recorded run did not fail; of {len(judged)} replays: {told or 'none'}{but}."


def replay_times(
    workers: Workers,
    plan: Plan,
    wanted: Failure | None,
    times: int,
    tell: Callable[[str], None],
) -> Replays:
    """Carry out `plan` a number of `times`; `tell` gets a line as each ends."""
    repeats: list[Repeat] = []
    broken: list[str] = []
    pending: set[Future[Repeat]] = {workers.carry_out(plan) for _ in range(times)}
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            number = len(repeats) + len(broken) + 1
            try:
                repeat = future.result()
            except HarnessError as error:
                broken.append(str(error))
                tell(f"{number:>3}  broken   {error}")
                continue
            repeats.append(repeat)
            report.write(RunFolder(repeat.folder))
            tell(f"{number:>3}  {_line(repeat, wanted)}")
    return Replays(wanted, tuple(repeats), tuple(broken))


def _line(repeat: Repeat, wanted: Failure | None) -> str:
    told = f"{repeat.outcome:<8} {repeat.seconds:5.1f} s"
    if wanted is not None:
        same = "the same way" if repeat.reproduced(wanted) else "not the same way"
        told += f"  {same:<16}"
    return f"{told}  {repeat.folder.name}"
