"""Checks of ownership: one owner of each worker once all is healed, and a journal that tells why.

What is judged is what truly ran (`tenures`), never what a node believes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.check import Verdict, ownership
from harness.history import History, Op
from harness.units import Duration, to_seconds
from targets.cluster.app.placement import best
from targets.cluster.tenures import Tenure, calm, end_of, readings, rivals, tenures

_SHOWN = 5
"""Findings in the evidence."""


@dataclass(frozen=True)
class OneOwner:
    """The check that `one_owner` makes."""

    within_s: float
    contested: int
    takeover_s: float | None
    at_home: bool
    most_moves: int | None

    @property
    def name(self) -> str:
        return f"one_owner(within={self.within_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        reads = readings(history)
        by_worker = tenures(reads)
        found: list[tuple[str, str]] = []
        undecided = self._doubles(history, by_worker, found)
        last = _last(history, "running")
        owners = _last(history, "owners")
        for worker in sorted(set().union(*(op.result for op in owners.values()))):
            self._at_the_end(worker, last, owners, found)
        contested = [worker for worker, some in by_worker.items() if rivals(some)]
        moves = sum(len(some) - 1 for some in by_worker.values())
        if self.takeover_s is not None:
            found += _gaps(history, reads, by_worker, self.takeover_s)
        if self.most_moves is not None and moves > self.most_moves:
            text = f"Workers were started anew {moves} times, {self.most_moves} are allowed"
            found.append(("moved", text))
        unknown = undecided
        if not last or not owners:
            unknown = "Nothing was tested: no final read of running and owners was answered."
        elif len(contested) < self.contested:
            unknown = (
                f"Nothing was tested: {len(contested)} workers certainly ran on two nodes at once, "
                f"{self.contested} were expected to."
            )
        told = (
            f"{len(by_worker)} workers, {len(contested)} with two owners during the faults, "
            f"started anew {moves} times"
        )
        data = {
            "workers": len(by_worker),
            "contested": sorted(contested),
            "moves": moves,
            "settled_s": _settled_s(history, by_worker),
            "owners": dict(next(iter(owners.values())).result) if owners else {},
        }
        return _verdict(self.name, began, found, told, unknown, len(reads), data)

    def _doubles(
        self,
        history: History,
        by_worker: Mapping[str, Sequence[Tenure]],
        found: list[tuple[str, str]],
    ) -> str | None:
        """Two owners at once where that must not be, as `harness.check.ownership` finds them; what
        it could not decide."""
        stretches = calm(history, round(self.within_s * 1e9))
        ops = [
            op
            for some in by_worker.values()
            for number, tenure in enumerate(some)
            for begin, end in stretches
            for op in _held(tenure, number, max(begin, tenure.start), min(end, tenure.end))
        ]
        if not ops:
            return "Nothing was tested: no worker was seen twice in a calm stretch."
        verdict = ownership()(History(sorted(ops, key=lambda op: op.start)))
        if verdict.result == "invalid":
            found.append(("two-owners", verdict.summary.rstrip(".")))
        return None

    def _at_the_end(
        self,
        worker: str,
        last: Mapping[str, Op],
        owners: Mapping[str, Op],
        found: list[tuple[str, str]],
    ) -> None:
        running = sorted(node for node, op in last.items() if worker in op.result)
        if len(running) != 1:
            kind = "two-owners" if running else "ownerless"
            where = f"on {' and '.join(running)}" if running else "nowhere"
            found.append((kind, f"{worker} runs {where} at the end"))
            return
        for node, op in sorted(owners.items()):
            if op.result.get(worker) != running[0]:
                said = op.result.get(worker)
                text = f"{worker} runs on {running[0]} at the end, and {node} says {said}"
                found.append(("stale-owner", text))
        home = best(worker, last)
        if self.at_home and running[0] != home:
            text = f"{worker} runs on {running[0]} at the end; the rule demands {home}"
            found.append(("misplaced", text))


def one_owner(
    *,
    within: Duration,
    contested: int = 0,
    takeover: Duration | None = None,
    at_home: bool = False,
    most_moves: int | None = None,
) -> OneOwner:
    """Check that no worker certainly ran on two nodes at once, except while a fault was in force
    and `within` that time after it; and that at the end each wanted worker runs on one node, which
    all nodes name.

    Ops: `running` (answers worker → instance of what runs on the node asked) throughout and as
    final reads of each node, `owners` (worker → owner) as a final read of all. Overlaps are judged
    by `ownership`: an instance is acquired when it was first seen, and released before it was last
    seen.

    With `takeover`, a worker must not be seen nowhere for longer than that, where all nodes that
    were up answered meanwhile without it. With `at_home`, each worker must end where the rule
    places it among all nodes: then every repetition ends alike. With `most_moves`, workers must
    not be started anew more often.

    Anomalies: `two-owners`, `ownerless`, `stale-owner`, `misplaced`, `moved`. `unknown`: no final
    reads, or fewer than `contested` workers ran on two nodes at once during the faults: then there
    was nothing to resolve. `data` tells them, and `settled_s`: for how long after the last fault
    some worker still ran twice.
    """
    return OneOwner(
        to_seconds(within, "within"),
        contested,
        None if takeover is None else to_seconds(takeover, "takeover"),
        at_home,
        most_moves,
    )


@dataclass(frozen=True)
class Journaled:
    """The check that `journaled` makes."""

    at_least: int

    @property
    def name(self) -> str:
        return "journaled"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        journals = _last(history, "conflicts")
        if not journals:
            text = "Nothing was tested: no journal was read at the end."
            return Verdict(self.name, "unknown", text)
        found: list[tuple[str, str]] = []
        known: dict[tuple[str, frozenset[str]], tuple[str, str]] = {}
        resolved: dict[str, list[Mapping[str, str]]] = {}
        for node, op in sorted(journals.items()):
            for conflict in op.result["open"]:
                text = f"The conflict of {conflict['worker']} is still open on {node}"
                found.append(("unresolved", text))
            for conflict in op.result["resolved"]:
                worker, owner = conflict["worker"], "".join(conflict["after"])
                gone, before = conflict["gone"], conflict["before"]
                claimants = {name: one for name, one in before.items() if name not in gone}
                resolved.setdefault(worker, []).append(claimants)
                if owner != (best(worker, claimants) or ""):
                    text = (
                        f"{node} resolved {worker} between {' and '.join(sorted(claimants))} in "
                        f"favour of {owner or 'nobody'}; the rule demands {best(worker, claimants)}"
                    )
                    found.append(("against-the-rule", text))
                if len(claimants) < 2:
                    continue  # (the others were taken for dead: no conflict was settled)
                key = (worker, frozenset(claimants.values()))
                first, its_owner = known.setdefault(key, (node, owner))
                if its_owner != owner:
                    text = f"{first} and {node} resolved the same conflict of {worker} unlike"
                    found.append(("journals-differ", text))
        seen = 0
        for worker, some in sorted(tenures(readings(history)).items()):
            for one, other, _start, _end in rivals(some):
                seen += 1
                if not any(
                    {one.instance, other.instance} <= set(claimants.values())
                    for claimants in resolved.get(worker, ())
                ):
                    text = (
                        f"{worker} ran on {one.node} and {other.node} at once, and no journal "
                        "tells of these two"
                    )
                    found.append(("not-journaled", text))
        told = (
            f"{seen} conflicts seen from outside, {len(known)} in the journals of "
            f"{len(journals)} nodes"
        )
        unknown = None
        if seen < self.at_least:
            unknown = f"Nothing was tested: {told}; {self.at_least} were expected."
        data = {"seen": seen, "ownership_conflicts": len(known), "resolved": len(known)}
        return _verdict("journaled", began, found, told, unknown, len(journals), data)


def journaled(*, at_least: int = 1) -> Journaled:
    """Check that the journals tell of every worker that certainly ran twice, with both its
    instances, that every conflict was resolved as the rule demands, and that no two journals tell
    otherwise of the same one.

    Ops: `running` as for `one_owner`, and `conflicts` as a final read of each node, which answers
    `open` and `resolved`: lists of maps with `worker`, `before` and `after` (owner → instance), and
    `gone`, the claimants that were taken for dead meanwhile: who is dead cannot win.

    Anomalies: `unresolved`, `against-the-rule`, `journals-differ`, `not-journaled`. `unknown`:
    fewer than `at_least` conflicts were seen from outside.
    """
    return Journaled(at_least)


def _held(tenure: Tenure, number: int, begin: int, end: int) -> list[Op]:
    """The tenure between two moments, as ops of a lock."""
    if begin >= end:
        return []

    def op(f: str, at: int) -> Op:
        owner = f"{tenure.node} ({tenure.instance})"
        return Op(number, f, tenure.worker, owner, "ok", None, at, at, at, at, tenure.node)

    return [op("acquire", begin), op("release", end)]


def _gaps(
    history: History,
    reads: Sequence[Op],
    by_worker: Mapping[str, Sequence[Tenure]],
    takeover_s: float,
) -> list[tuple[str, str]]:
    """Workers that ran nowhere for longer than `takeover_s`, as all nodes that were up say."""
    found = []
    limit = round(takeover_s * 1e9)
    down = [fault for fault in history.timeline.faults if fault.kind in ("kill", "stop", "pause")]
    for worker in by_worker:
        sightings = sorted((op.start, end_of(op)) for op in reads if worker in op.result)
        for (_start, since), (until, _end) in itertools.pairwise(sightings):
            if until - since <= limit:
                continue
            asked = {op.node for op in reads if since + limit < op.start and end_of(op) < until}
            away = {
                node
                for fault in down
                if fault.start < until and since < fault.end
                for node in fault.nodes
            }
            if set(history.nodes) <= asked | away:
                text = f"{worker} ran nowhere for {(until - since) / 1e9:.3f} s"
                found.append(("ownerless", f"{text}, {takeover_s:g} s are allowed"))
                break
    return found


def _settled_s(history: History, by_worker: Mapping[str, Sequence[Tenure]]) -> float:
    """For how long after the end of the last fault some worker certainly still ran twice."""
    healed = max((fault.end for fault in history.timeline.faults), default=0)
    ends = [end for some in by_worker.values() for *_pair, end in rivals(some)]
    return max(0.0, (max(ends, default=0) - healed) / 1e9)


def _last(history: History, f: str) -> dict[str, Op]:
    """The last final answer of each node."""
    return {str(op.node): op for op in history.ops if op.final and op.f == f and op.outcome == "ok"}


def _verdict(
    name: str,
    began: float,
    found: Sequence[tuple[str, str]],
    told: str,
    unknown: str | None,
    ops: int,
    data: Mapping[str, Any],
) -> Verdict:
    kinds = list(dict.fromkeys(kind for kind, _text in found))
    lines = [f"{text}: {kind}." for kind, text in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"… and {len(found) - _SHOWN} more")
    summary = f"{found[0][1]} ({told})." if found else unknown or f"Nothing is wrong: {told}."
    return Verdict(
        name,
        "invalid" if found else "unknown" if unknown else "valid",
        summary,
        evidence="\n".join(lines),
        anomaly=kinds[0] if kinds else None,
        ops=ops,
        seconds=time.monotonic() - began,
        data={**data, "anomalies": kinds},
    )
