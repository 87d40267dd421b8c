"""How much of what was acknowledged is lost, and for how long it went on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History, Op
from harness.units import Duration, to_seconds

ANOMALY = "lost-for-too-long"


@dataclass(frozen=True)
class Loss:
    """The check that `loss` makes."""

    at_most_s: float

    @property
    def name(self) -> str:
        return f"loss(at_most={self.at_most_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        reads = [op for op in history.ops if op.f == "read" and op.outcome == "ok"]
        if not any(op.final for op in reads):
            return Verdict(self.name, "unknown", "Nothing was tested: no final read was answered.")
        last = max(reads, key=lambda op: op.start)
        held = set(last.result)
        acknowledged = [
            op
            for op in history.ops
            if op.f == "add" and op.outcome == "ok" and _end(op) < last.start
        ]
        if not acknowledged:
            return Verdict(self.name, "unknown", "Nothing was tested: no add was acknowledged.")
        lost = sorted((op for op in acknowledged if op.value not in held), key=_end)
        from_s, to_s = (_end(lost[0]) / 1e9, _end(lost[-1]) / 1e9) if lost else (0.0, 0.0)
        valid = to_s - from_s <= self.at_most_s
        counts = f"{len(lost)} of {len(acknowledged)} acknowledged adds are lost"
        when = (
            f", acknowledged from {from_s:.3f} to {to_s:.3f} s: {to_s - from_s:.3f} s"
            if lost
            else ""
        )
        return Verdict(
            self.name,
            "valid" if valid else "invalid",
            f"{counts}{when}; {self.at_most_s:g} s are allowed.",
            evidence="\n".join(map(_told, (*lost[:1], *lost[1:][-1:]))),
            anomaly=None if valid else ANOMALY,
            ops=len(history),
            seconds=time.monotonic() - began,
            data={
                "acknowledged": len(acknowledged),
                "lost": len(lost),
                "share": len(lost) / len(acknowledged),
                "window_s": to_s - from_s,
                "from_s": from_s,
                "to_s": to_s,
            },
        )


def loss(*, at_most: Duration) -> Loss:
    """Check that the acknowledged adds which the last read misses were acknowledged within
    `at_most` of each other, from the first to the last: for so long somebody acknowledged what he
    could not keep.

    `data` tells how many were acknowledged and lost. `unknown`: no final read was answered, or
    nothing was acknowledged before it. Raises `UsageError` unless `at_most` is a duration.
    """
    return Loss(to_seconds(at_most, "loss: at_most", allow_zero=True))


def _end(op: Op) -> int:
    return op.start if op.end is None else op.end


def _told(op: Op) -> str:
    at_s = _end(op) / 1e9
    return f"  {at_s:.3f} s  process {op.process}  {op.node}  add {op.value}  ok, and lost"
