"""Convergence: once everything is healed, all nodes come to answer the same."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.check.verdict import Verdict
from harness.history import History, Op, hashable
from harness.units import Duration, to_seconds

PHASE = "final"
"""The phase whose start the time is counted from."""

_SHOWN = 5  # keys in the evidence


_Question: TypeAlias = tuple[str, Hashable, Hashable]
"""An operation, its key, and what was asked of it beside that."""


@dataclass(frozen=True)
class Converged:
    """The check that `converged` makes."""

    within_s: float

    @property
    def name(self) -> str:
        return f"converged(within={self.within_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        finals = [op for op in history.ops if op.final]
        asked = _asked_of_all(history, finals)
        if not asked:
            untested = (
                "no final read was asked of all nodes, and of two at least"
                if finals
                else "the history has no final reads"
            )
            return Verdict(self.name, "unknown", f"Nothing was tested: {untested}.")
        phase = history.phase(PHASE)
        start = finals[0].start if phase is None else phase.start
        problems: list[_Problem] = []
        slowest = start
        for (f, key, _value), ops in asked.items():
            answers = {node: _answers(ops, node) for node in sorted(_nodes(ops))}
            moment = max((_settled_at(given) for given in answers.values() if given), default=start)
            slowest = max(slowest, moment)
            problem = self._problem(f, key, answers, moment - start)
            if problem is not None:
                problems.append(problem)
        first = min(problems, key=lambda problem: problem.rank, default=None)
        took_s = (slowest - start) / 1e9
        if first is None:
            nodes = len(set().union(*map(_nodes, asked.values())))
            summary = (
                f"All {nodes} nodes answered the same for all {len(asked)} keys after "
                f"{took_s:.3f} s."
            )
            result: Any = "valid"
        else:
            others = f" ({len(problems)} of {len(asked)} keys)" if len(problems) > 1 else ""
            summary, result = f"{first.sentence}{others}", "invalid"
        return Verdict(
            self.name,
            result,
            summary,
            evidence=_evidence(problems),
            anomaly=None if first is None else first.anomaly,
            ops=sum(map(len, asked.values())),
            seconds=time.monotonic() - began,
            data={"after_s": took_s, "keys": [problem.key for problem in problems]},
        )

    def _problem(
        self, f: str, key: Hashable, answers: Mapping[str, Sequence[Op]], took: int
    ) -> _Problem | None:
        what = f"Key {key!r}" if key is not None else f"The answer to {f}"
        silent = [node for node, given in answers.items() if not given]
        last = {node: given[-1] for node, given in answers.items() if given}
        if silent:
            text = f"{what}: {', '.join(silent)} never answered a final read."
            return _Problem(key, "unanswered", text, last)
        if len({hashable(op.result) for op in last.values()}) > 1:
            text = f"{what}: the nodes still differ in their last answers."
            return _Problem(key, "diverged", text, last)
        if took / 1e9 > self.within_s:
            text = (
                f"{what}: the nodes agreed after {took / 1e9:.3f} s only, and "
                f"{self.within_s:g} s were allowed."
            )
            return _Problem(key, "late", text, last)
        return None


@dataclass(frozen=True)
class _Problem:
    key: Hashable
    anomaly: str
    sentence: str
    last: Mapping[str, Op]

    @property
    def rank(self) -> int:
        """The gravest first."""
        return ("diverged", "unanswered", "late").index(self.anomaly)


def converged(*, within: Duration = 5) -> Converged:
    """Check that all nodes answer the final reads alike, `within` that time of their beginning.

    Compared are the answers to the same operation, key and values. Reads that were not asked of all
    nodes (those with `at`, of a dependency or of one node, and a client's own) have nothing to be
    compared with and are left out.

    The time runs from the start of the phase "final", or from the first final read, to the end of
    the read from which on the last node gave its last answer. Each node that was asked must have
    answered for each key. The verdict is `unknown` if no read was asked of two nodes or more.
    Raises `UsageError` for a wrong duration.
    """
    return Converged(to_seconds(within, "within"))


def _asked_of_all(history: History, finals: Sequence[Op]) -> dict[_Question, list[Op]]:
    """The final reads by what was asked, without those that were asked of some nodes only.

    Those of all nodes were asked wherever clients worked. An op is recorded before its node is
    reached, so a node that is down was asked as well.
    """
    questions: dict[_Question, list[Op]] = {}
    for op in finals:
        questions.setdefault((op.f, hashable(op.key), hashable(op.value)), []).append(op)
    worked = _nodes([op for op in history.ops if not op.final])
    return {
        question: ops
        for question, ops in questions.items()
        if len(_nodes(ops)) >= 2 and _nodes(ops) >= worked
    }


def _nodes(ops: Sequence[Op]) -> set[str]:
    return {op.node for op in ops if op.node is not None}


def _answers(ops: Sequence[Op], node: str) -> list[Op]:
    given = [op for op in ops if op.node == node and op.outcome == "ok"]
    return sorted(given, key=_end)


def _settled_at(answers: Sequence[Op]) -> int:
    """When the node first gave its last answer, of those it did not take back."""
    settled = answers[-1]
    for op in reversed(answers):
        if hashable(op.result) != hashable(settled.result):
            break
        settled = op
    return _end(settled)


def _end(op: Op) -> int:
    return op.start if op.end is None else op.end


def _evidence(problems: Sequence[_Problem]) -> str:
    lines = []
    for problem in sorted(problems, key=lambda problem: problem.rank)[:_SHOWN]:
        lines.append(problem.sentence)
        lines += [
            f"  {node}: {op.result!r} at {_end(op) / 1e9:.3f} s"
            for node, op in sorted(problem.last.items())
        ]
    if len(problems) > _SHOWN:
        lines.append(f"… and {len(problems) - _SHOWN} more keys")
    return "\n".join(lines)
