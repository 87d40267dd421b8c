"""Session guarantees: what one process may rely on, whatever replica it is talking to.

A session is a process. The definitions are those of Terry and others, "Session Guarantees for
Weakly Consistent Replicated Data" (PDIS 1994), for keys that hold one value. Which of two versions
of a key is the older one is known from

- the numbers that the target gives them: answers of the form `{"value": …, "version": 7}`, of
  reads, writes or both; or else
- time: a write that had ended before another one of the same key began made the older version.
  (That holds for targets that order the writes of a key as they are acknowledged, e.g. by a
  primary. Those that order them by their own clocks must tell versions.)

What was there from the start is older than any write. Versions of concurrent writes are not
compared, nor reads of values that nobody wrote. Every value may be written to a key only once, or
the verdict is `unknown`; so it is where a limit of time or memory was passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness import collector
from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.budget import TIMEOUT_S, Budget, OverBudgetError, limits
from harness.check.verdict import Verdict
from harness.check.workloads._ops import READS, WRITES, at, by_key, missing, moments, watched
from harness.check.workloads._servers import behind
from harness.check.workloads._versions import Newest, Versions, steps
from harness.history import History, Op
from harness.units import Duration

Keys: TypeAlias = Mapping[Hashable, Sequence[Op]]
Judged: TypeAlias = Callable[[Keys, Mapping[Hashable, Versions], Findings, Budget], int]

_REORDERED = "writes-reordered"
_BEFORE_CAUSE = "write-before-its-cause"


@dataclass(frozen=True)
class Session:
    """The check that each of these functions makes."""

    name: str
    anomaly: str
    judged: Judged
    timeout_s: float
    memory: int

    def __call__(self, history: History) -> Verdict:
        with collector.paused():
            return self._verdict(history)

    def _verdict(self, history: History) -> Verdict:
        began = time.monotonic()
        budget = Budget(self.timeout_s, self.memory)
        when = moments(history)
        found = Findings(self.anomaly)
        keys: dict[Hashable, list[Op]] = {}
        versions: dict[Hashable, Versions] = {}
        unclear: list[Hashable] = []
        compared, unknown = 0, None
        try:
            known = [op for op in watched(history.ops, budget) if op.f in READS or op.f in WRITES]
            for key, ops in by_key(known).items():
                keys[key] = list(filter(steps, watched(ops, budget)))
            for key, ops in keys.items():
                versions[key] = Versions.of(watched(ops, budget), when)
                if versions[key].unclear is not None:
                    unclear.append(key)
            clear = {key: ops for key, ops in keys.items() if versions[key].unclear is None}
            compared = self.judged(clear, versions, found, budget)
        except OverBudgetError as error:
            unknown = f"Undecided after {budget.told(error.limit)}."
        if unclear and unknown is None:
            value = versions[unclear[0]].unclear
            unknown = (
                f"{brief(value)} was written twice{at(unclear[0])}: which version a read saw "
                f"cannot be told ({many(len(unclear), 'key')} of this kind)."
            )
        elif not compared and unknown is None:
            unknown = missing(
                "no process could have noticed (expected: read, write of unique values)"
            )
        told = f"{many(compared, 'comparison')} on {many(len(keys), 'key')}"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"compared": compared, "keys": len(keys)},
        )


def read_your_writes(*, timeout: Duration = TIMEOUT_S, memory: int | None = None) -> Session:
    """Check that a process which wrote a key reads that version or a newer one afterwards.

    Ops: `write` (value: unique for its key) and `read`; see this module for what is older.
    Anomaly: `own-write-unseen`. `unknown`: no process read a key that it had written. O(n).

    Example: process 1 writes 1, then reads None: `invalid`.
    """
    return Session(
        "read-your-writes", "own-write-unseen", _read_your_writes, *limits(timeout, memory)
    )


def monotonic_reads(*, timeout: Duration = TIMEOUT_S, memory: int | None = None) -> Session:
    """Check that no process reads an older version of a key than it has read before.

    Ops: `write` (value: unique for its key) and `read`; see this module for what is older.
    Anomaly: `read-went-back`. `unknown`: no process read a key twice. O(n).

    Example: write 1, then write 2; process 3 reads 2, then 1: `invalid`.
    """
    return Session("monotonic-reads", "read-went-back", _monotonic_reads, *limits(timeout, memory))


def monotonic_writes(*, timeout: Duration = TIMEOUT_S, memory: int | None = None) -> Session:
    """Check that every server takes the writes of a process in the order in which it made them.

    Ops: `write` (value: unique for its key) and `read`; see this module for what is older. A
    server is the node that answers (where none is recorded, whatever one process talks to).
    Anomaly: `writes-reordered`: a server showed a write, and in a read that began later an older
    version of some key than the same process had written there before; or the target gave two
    writes of a process to a key versions in the opposite order. `unknown`: there was no such pair
    of reads and no such versions. O(n w log n), w processes per key.

    Example: process 1 writes x 1, then y 1; node-2 answers y 1, then x None: `invalid`.
    """
    return Session("monotonic-writes", _REORDERED, _monotonic_writes, *limits(timeout, memory))


def writes_follow_reads(*, timeout: Duration = TIMEOUT_S, memory: int | None = None) -> Session:
    """Check that every server shows what a process had read before it wrote, once it shows that.

    Ops: `write` (value: unique for its key) and `read`; see this module for what is older, and
    `monotonic_writes` for servers. Anomaly: `write-before-its-cause`: a server showed a write, and
    in a read that began later an older version of some key than the writer had read before; or the
    target gave a write an older version than its writer had read there. `unknown`: there was no
    such pair of reads and no such versions. O(n r log n), r processes that read a key.

    Example: process 1 reads x 1, then writes y 1; node-2 answers y 1, then x None: `invalid`.
    """
    return Session(
        "writes-follow-reads", _BEFORE_CAUSE, _writes_follow_reads, *limits(timeout, memory)
    )


def _read_your_writes(
    keys: Keys, versions: Mapping[Hashable, Versions], found: Findings, budget: Budget
) -> int:
    compared = 0
    for key, ops in keys.items():
        known = versions[key]
        own: dict[int, Newest] = {}
        for op in watched(ops, budget):
            mine = own.get(op.process)
            if op.f in WRITES:
                own.setdefault(op.process, Newest(known)).add(known.written(op), op)
            elif mine is not None and (seen := known.seen(op)) is not None:
                compared += 1
                if (newer := mine.newer_than(seen)) is not None:
                    what = told_op(op, f"read {brief(op.result)}{at(key)}")
                    sentence = f"{what}, though it had itself written {brief(newer.value)} before"
                    shown = [newer, op] if seen.write is None else [seen.write, newer, op]
                    found.add("own-write-unseen", sentence, *shown)
    return compared


def _monotonic_reads(
    keys: Keys, versions: Mapping[Hashable, Versions], found: Findings, budget: Budget
) -> int:
    compared = 0
    for key, ops in keys.items():
        known = versions[key]
        own: dict[int, Newest] = {}
        for op in watched(ops, budget):
            seen = known.seen(op) if op.f in READS else None
            if seen is None:
                continue
            mine = own.get(op.process)
            if mine is None:
                mine = own[op.process] = Newest(known)
            else:
                compared += 1
                if (newer := mine.newer_than(seen)) is not None:
                    what = told_op(op, f"read {brief(op.result)}{at(key)}")
                    sentence = f"{what}, an older version than {brief(newer.result)}, which it had "
                    found.add("read-went-back", sentence + "read before", newer, op)
            mine.add(seen, op)
    return compared


def _monotonic_writes(
    keys: Keys, versions: Mapping[Hashable, Versions], found: Findings, budget: Budget
) -> int:
    return _behind(keys, versions, found, budget, WRITES)


def _writes_follow_reads(
    keys: Keys, versions: Mapping[Hashable, Versions], found: Findings, budget: Budget
) -> int:
    return _behind(keys, versions, found, budget, READS)


def _behind(
    keys: Keys,
    versions: Mapping[Hashable, Versions],
    found: Findings,
    budget: Budget,
    had: tuple[str, ...],
) -> int:
    kind, did = (_REORDERED, "written") if had is WRITES else (_BEFORE_CAUSE, "read")
    compared = 0
    for case in behind(keys, versions, had, budget):
        compared += 1
        late, newer = case.late, case.newer
        if newer is None:
            continue
        first = brief(newer.value if had is WRITES else newer.result)
        if case.shown is None:
            what = told_op(late, f"wrote {brief(late.value)}{at(case.key)}")
            sentence = f"{what} after it had {did} {first}, and its write has the older version"
            found.add(kind, sentence, newer, late)
        else:
            what = told_op(late, f"read {brief(late.result)}{at(case.key)}")
            sentence = (
                f"{what}, where {brief(case.shown.value)} of process {case.shown.process} had been "
                f"seen, which had {did} {first} here before"
            )
            found.add(kind, sentence, newer, case.shown, late)
    return compared
