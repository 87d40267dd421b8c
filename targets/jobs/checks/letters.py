"""Dead letters: what cannot be done ends there, after so many attempts, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History
from targets.jobs.checks.found import Found, ledger, missing


@dataclass(frozen=True)
class DeadLetters:
    """The check that `dead_letters` makes."""

    attempts: int

    @property
    def name(self) -> str:
        return f"dead_letters(attempts={self.attempts})"

    def __call__(self, history: History) -> Verdict:
        kinds = ("effect-of-dead", "not-dead", "tried-too-often", "dead-for-nothing", "forgotten")
        found = Found(self.name, *kinds)
        rows = ledger(history, "letters")
        ends = {row[0]: (row[1], row[2]) for row in rows or []}
        done = {row[0] for row in ledger(history, "effects") or []}
        doomed = {op.key for op in history.ops if op.f == "doom"}
        acknowledged = {op.key for op in history.ops if op.f == "doom" and op.outcome == "ok"}
        for key in sorted(acknowledged if rows is not None else ()):
            end, failures = ends.get(key, (None, 0))
            if key in done:
                found.add("effect-of-dead", f"Job {key} fails whenever it is tried, and had effect")
            elif end != "dead":
                found.add("not-dead", f"Job {key} can never be done, and ended as {end}")
            elif failures > self.attempts:
                found.add(
                    "tried-too-often", f"Job {key} failed {failures} times before it was dead"
                )
        dead = {key for key, (end, _failures) in ends.items() if end == "dead"}
        for key in sorted(dead - doomed):
            _end, failures = ends[key]
            found.add("dead-for-nothing", f"Job {key} is dead after {failures} failures")
        made = {op.key for op in history.ops if op.f == "enqueue" and op.outcome == "ok"}
        for key in sorted(made - ends.keys() if rows is not None else ()):
            found.add("forgotten", f"Job {key} was acknowledged, and nobody knows its key any more")
        unknown = None
        if rows is None:
            unknown = missing("letters")
        elif not acknowledged:
            unknown = "Nothing was tested: no job was acknowledged that can never be done."
        told = f"{len(ends)} jobs, {len(acknowledged)} acknowledged doomed ones, {len(dead)} dead"
        data = {"jobs": len(ends), "doomed": len(acknowledged), "dead": len(dead)}
        return found.verdict(told, unknown, len(ends), data)


def dead_letters(*, attempts: int) -> DeadLetters:
    """Check that acknowledged jobs which fail whenever they are tried (ops `doom`) end as dead
    letters after `attempts`, without effect, that no other job does, and that the key of every
    acknowledged job is still known: else its repetition would be another job.

    Read from the final ops `letters` (rows of a key, how it ended, and how often it failed) and
    `effects`. Anomalies: `effect-of-dead`, `not-dead`, `tried-too-often`, `dead-for-nothing`,
    `forgotten`. `unknown`: not read, or no such job was acknowledged.
    """
    return DeadLetters(attempts)
