"""What was acknowledged is in the history that every node shows in the end, once and in order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History, Op

_SHOWN = 5

Problem = tuple[str, str]
"""Which anomaly, and a sentence."""


@dataclass(frozen=True)
class Kept:
    """The check that `kept` makes."""

    @property
    def name(self) -> str:
        return "kept"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        shown = _last_histories(history)
        if not shown:
            return Verdict(self.name, "unknown", "Nothing was tested: no final history was read.")
        published = [op for op in history.ops if op.f == "publish"]
        acknowledged = sum(op.outcome == "ok" for op in published)
        if not acknowledged:
            return Verdict(self.name, "unknown", "Nothing was tested: nothing was acknowledged.")
        by_topic: dict[Hashable, list[Op]] = {}
        for op in published:
            by_topic.setdefault(op.key, []).append(op)
        problems = [problem for op in shown for problem in _problems(op, by_topic.get(op.key, ()))]
        kinds = Counter(kind for kind, _sentence in problems)
        nodes = len({op.node for op in shown})
        told = (
            f"{acknowledged} acknowledged messages of {len(by_topic)} rooms, in the histories of "
            f"{nodes} nodes"
        )
        first = problems[0][1] if problems else "Nothing is wrong"
        return Verdict(
            self.name,
            "invalid" if problems else "valid",
            f"{first} ({told}).",
            evidence="\n".join(sentence for _kind, sentence in problems[:_SHOWN]),
            anomaly=problems[0][0] if problems else None,
            ops=len(published) + len(shown),
            seconds=time.monotonic() - began,
            data={"acknowledged": acknowledged, "nodes": nodes, **kinds, "anomalies": list(kinds)},
        )


def kept() -> Kept:
    """Check the last answers of every node to the final op `history` (key: the room; a list of the
    ids of its messages in the order in which everybody is shown them) against the `publish` ops
    (key: the room; value: the id).

    Anomalies: `lost`, acknowledged and not there; `doubled`; `phantom`, never published, or every
    publishing of it failed for certain; `out-of-order`, of two messages that one process published
    one after the other the later one stands first. `unknown`: no final history was read, or nothing
    was acknowledged. O(n).
    """
    return Kept()


def _last_histories(history: History) -> list[Op]:
    """The last answer of each node for each room."""
    last: dict[tuple[Hashable, str | None], Op] = {}
    for op in history.ops:
        if op.final and op.f == "history" and op.outcome == "ok":
            last[op.key, op.node] = op
    return list(last.values())


def _problems(shown: Op, published: Sequence[Op]) -> Iterator[Problem]:
    where = f"in the history of {shown.key} on {shown.node}"
    places: Mapping[Hashable, int] = {id: place for place, id in enumerate(shown.result)}
    tried = {op.value for op in published if op.outcome != "fail"}
    for op in published:
        if op.outcome == "ok" and op.value not in places:
            yield "lost", f"{_who(op)}, and it is not {where}"
    for id, times in Counter(shown.result).items():
        if times > 1:
            yield "doubled", f"{id!r} is {times} times {where}"
        if id not in tried:
            yield "phantom", f"{id!r} is {where}, and nobody published it"
    before: dict[int, Op] = {}
    for op in published:
        if op.value not in places:
            continue
        earlier = before.get(op.process)
        if earlier is not None and places[earlier.value] > places[op.value]:
            yield "out-of-order", f"{op.value!r} stands before {earlier.value!r} {where}"
        before[op.process] = op


def _who(op: Op) -> str:
    end_s = (op.start if op.end is None else op.end) / 1e9
    return f"{op.node} acknowledged {op.value!r} of process {op.process} at {end_s:.3f} s"
