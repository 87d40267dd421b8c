"""Ownership: no key has two owners at once, and fencing tokens grow."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.check._findings import Findings, brief, judge
from harness.check._text import clock, end_of, many
from harness.check.verdict import Verdict
from harness.history import History, Op, hashable
from harness.units import Duration, to_seconds

_ACQUIRES = ("acquire", "lock")
_RELEASES = ("release", "unlock")
_FUNCTIONS = (*_ACQUIRES, *_RELEASES, "renew")


@dataclass(frozen=True)
class Ownership:
    """The check that `ownership` makes."""

    lease_s: float | None

    @property
    def name(self) -> str:
        return "ownership" if self.lease_s is None else f"ownership(lease={self.lease_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        found = Findings("two-owners", "token-reused", "token-went-back")
        keys = History([op for op in history.ops if op.f in _FUNCTIONS]).by_key()
        acquired = contested = 0
        for key, ops in keys.items():
            grants = [op for op in ops if op.f in _ACQUIRES and op.outcome == "ok"]
            acquired += len(grants)
            contested += bool(grants) and len({_owner(op) for op in ops}) > 1
            _overlaps(key, _tenures(ops, self.lease_s), found)
            _tokens(key, grants, found)
        unknown = None
        if not acquired:
            unknown = (
                "Nothing was tested: nothing was acquired (expected: acquire, release, renew)."
            )
        elif not contested:
            unknown = "Nothing was tested: no key was wanted by two owners."
        told = f"{many(acquired, 'acquisition')} of {many(len(keys), 'key')}, {contested} contested"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"acquired": acquired, "keys": len(keys), "contested": contested},
        )


def ownership(*, lease: Duration | None = None) -> Ownership:
    """Check that no key has two owners at once, as far as they can be certain of owning it.

    Ops: `acquire` (or `lock`), `renew` and `release` (or `unlock`) of a key. The owner is the
    op's value, `{"owner": …}` in it, or else the process. What they answer may tell a fencing token
    and how long the lease is: a number, or `{"token": 7, "lease_s": 2}`; `lease` holds where no
    answer says. An owner owns the key for certain from the end of an acquire until it
    begins to release, or to renew in vain; with a lease no longer than that, counted from the
    beginning of the acquire or renewal. What ended with no known outcome makes nobody an owner. An
    owner may acquire again what it has.

    Anomalies: `two-owners`; `token-reused`, by two owners; `token-went-back`, an acquire that began
    after another one had ended got a smaller token. Leases as in Gray and Cheriton (1989), fencing
    tokens as in Kleppmann, "How to do distributed locking" (2016). `unknown`: nothing was acquired,
    or no key was wanted by two. O(n log n). Raises `UsageError` for a wrong lease.

    Example: process 1 acquires k at 1-2 s, process 2 acquires k at 3-4 s, process 1 releases it at
    5 s: `invalid`, both owned it from 4 to 5 s. With `lease=2`, process 1 owned it until 3 s only.
    """
    return Ownership(None if lease is None else to_seconds(lease, "lease"))


@dataclass(slots=True)
class _Tenure:
    """`by` owned the key for certain from `start` to `end` (ns; None: to the end of the run),
    because of `op`."""

    by: Hashable
    start: int
    end: float
    op: Op


def _tenures(ops: Sequence[Op], lease_s: float | None) -> list[_Tenure]:
    """When each owner had the key for certain, in order of the beginning."""
    tenures: list[_Tenure] = []
    current: dict[Hashable, list[_Tenure]] = defaultdict(list)
    for op in sorted(ops, key=lambda op: op.start):
        owner = _owner(op)
        gained = op.f not in _RELEASES and op.outcome == "ok"
        lost = op.f in _RELEASES or (op.f == "renew" and op.outcome != "ok")
        if lost:
            for tenure in current.pop(owner, ()):
                tenure.end = min(tenure.end, op.start)
        elif gained and op.end is not None:
            told_s = _told(op, "lease_s", lease_s)
            end = float("inf") if told_s is None else op.start + told_s * 1e9
            tenure = _Tenure(owner, op.end, end, op)
            tenures.append(tenure)
            current[owner].append(tenure)
    return sorted((one for one in tenures if one.start < one.end), key=lambda one: one.start)


def _overlaps(key: Hashable, tenures: Iterable[_Tenure], found: Findings) -> None:
    # Of those that have begun, the one that ends last, and the last one of another owner.
    first: _Tenure | None = None
    second: _Tenure | None = None
    for one in tenures:
        rival = second if first is not None and first.by == one.by else first
        if rival is not None and one.start < rival.end:
            until = min(one.end, rival.end)
            end = "the end" if until == float("inf") else f"{clock(until)} s"
            what = "it" if key is None else brief(key)
            when = f"{end_of(one.op)} on"
            if one.start != one.op.end_index:  # (else the times are places in the file)
                when = f"{clock(one.start)} s to {end}"
            sentence = f"{brief(rival.by)} and {brief(one.by)} both owned {what} from {when}"
            found.add("two-owners", sentence, rival.op, one.op)
        if first is None or first.end < one.end:
            if first is not None and first.by != one.by:
                second = first
            first = one
        elif first.by != one.by and (second is None or second.end < one.end):
            second = one


def _tokens(key: Hashable, grants: Sequence[Op], found: Findings) -> None:
    told = [(op, token) for op in grants if (token := _told(op, "token", None)) is not None]
    holders: dict[float, Op] = {}
    for op, token in told:
        other = holders.setdefault(token, op)
        if _owner(other) != _owner(op):
            sentence = (
                f"{brief(_owner(other))} and {brief(_owner(op))} got the same token {token:g}"
            )
            found.add("token-reused", f"{sentence} of {brief(key)}", other, op)
    ended = sorted(
        (pair for pair in told if pair[0].end is not None), key=lambda pair: _end(pair[0])
    )
    place = 0
    best: tuple[Op, float] | None = None
    for op, token in sorted(told, key=lambda pair: pair[0].start):
        while place < len(ended) and _end(ended[place][0]) < op.start:
            if best is None or best[1] < ended[place][1]:
                best = ended[place]
            place += 1
        if best is not None and token < best[1]:
            sentence = f"{brief(_owner(op))} got token {token:g} of {brief(key)}"
            found.add("token-went-back", f"{sentence} after {best[1]:g} had been", best[0], op)


def _end(op: Op) -> int:
    return op.start if op.end is None else op.end


def _owner(op: Op) -> Hashable:
    value = op.value
    if isinstance(value, Mapping):
        value = value.get("owner")
    owner: Hashable = hashable(value)
    return f"process {op.process}" if owner is None else owner


def _told(op: Op, name: str, otherwise: float | None) -> float | None:
    """A number within what the op answered; a bare number is a token."""
    told: Any = op.result
    if isinstance(told, Mapping):
        told = told.get(name)
    elif name != "token" or told == op.value:  # (some clients answer with what was asked)
        told = None
    known = isinstance(told, int | float) and not isinstance(told, bool)
    return told if known else otherwise
