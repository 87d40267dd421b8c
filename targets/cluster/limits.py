"""Checks of the limiter beside `rate_limit`: who admits how much, and who refuses at once.

The requests of a k6 load are ops like those of the workload, where its script names each
`request NODE` (`experiments/cluster.js` does).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.check import Check, Verdict
from harness.history import MISMATCH, History, Op
from harness.units import Duration, to_seconds
from targets.cluster.tenures import end_of

REQUEST = "request"


@dataclass(frozen=True)
class OfLoad:
    """The check that `of_load` makes."""

    check: Check

    @property
    def name(self) -> str:
        return f"{self.check.name} of the load"

    def __call__(self, history: History) -> Verdict:
        verdict = self.check(dataclasses.replace(history, ops=_of_load(history)))
        return dataclasses.replace(verdict, check=self.name)


def of_load(check: Check) -> OfLoad:
    """`check` on the requests of the load in place of the workload's ops: answered with 200 was
    admitted, 429 refused."""
    return OfLoad(check)


@dataclass(frozen=True)
class Admitted:
    """The check that `admitted` makes."""

    per_node: float
    least: float
    most: float
    settle_s: float

    @property
    def name(self) -> str:
        return f"admitted({self.per_node:g}/s a node)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        window = _cut(history, self.settle_s)
        if window is None:
            text = "Nothing was tested: no netsplit lasted long enough."
            return Verdict(self.name, "unknown", text)
        start, end = window
        seconds = (end - start) / 1e9
        ops = [op for op in _requests(history) if start <= op.start < end]
        admitted = Counter(op.node for op in ops if op.outcome == "ok")
        asked = {node: count / seconds for node, count in Counter(op.node for op in ops).items()}
        rates = {str(node): admitted[node] / seconds for node in sorted(asked, key=str)}
        most = self.per_node * self.most
        wrong = [
            node
            for node, rate in asked.items()
            if not min(self.per_node, rate) * self.least <= rates[str(node)] <= most
        ]
        told = ", ".join(f"{node} {rate:.0f}/s" for node, rate in rates.items())
        common: dict[str, Any] = {
            "ops": len(ops),
            "seconds": time.monotonic() - began,
            "data": {"accepted_rate": rates, "seconds": seconds},
        }
        if max(asked.values(), default=0.0) <= most:
            text = "Nothing was tested: no node was asked for more than it may admit"
            return Verdict(self.name, "unknown", f"{text} ({told}).", **common)
        summary = f"Admitted while the network was cut: {told}; {self.per_node:g}/s are right."
        if not wrong:
            return Verdict(self.name, "valid", summary, **common)
        return Verdict(self.name, "invalid", summary, anomaly="unfair-share", **common)


def admitted(
    *, per_node: float, least: float = 0.5, most: float = 1.2, settle: Duration = 1.0
) -> Admitted:
    """Check that each node, on either side of a netsplit, admits `per_node` requests a second (all
    that it is asked for, where that is less): at least `least` and at most `most` times so many,
    counted from `settle` after the cut to its end. On a machine that has little time for it
    requests come in bursts, and what a pause left unused is gone.

    `unknown`: there was no netsplit of that length, or no node was asked for more than it may
    admit. Anomaly: `unfair-share`.
    """
    return Admitted(per_node, least, most, to_seconds(settle, "settle", allow_zero=True))


@dataclass(frozen=True)
class FailsFast:
    """The check that `fails_fast` makes."""

    nodes: int
    within_s: float
    settle_s: float
    at_least: int

    @property
    def name(self) -> str:
        return f"fails_fast(within={self.within_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        window = _cut(history, self.settle_s)
        if window is None:
            text = "Nothing was tested: no netsplit lasted long enough."
            return Verdict(self.name, "unknown", text)
        start, end = window
        ops = [op for op in _requests(history) if start <= op.start and end_of(op) <= end]
        # A node that neither admits nor says that the limit is reached refuses everything.
        serving = {op.node for op in ops if op.answered}
        refusing = {op.node for op in ops} - serving
        refused = [op for op in ops if op.node in refusing]
        took_s = sorted(
            float("inf") if op.end is None else (op.end - op.start) / 1e9 for op in refused
        )
        p95_s = took_s[math.ceil(0.95 * len(took_s)) - 1] if took_s else 0.0
        common: dict[str, Any] = {
            "ops": len(ops),
            "seconds": time.monotonic() - began,
            "data": {"refusing": sorted(map(str, refusing)), "refused": len(refused)},
        }
        told = f"{len(refused)} requests refused by {', '.join(sorted(map(str, refusing))) or None}"
        if len(refusing) < self.nodes:
            text = f"{len(refusing)} nodes refused everything, {self.nodes} should have ({told})."
            return Verdict(self.name, "invalid", text, anomaly="minority-serves", **common)
        if p95_s > self.within_s:
            text = (
                f"95 % of {told} were answered within {p95_s:.3f} s, {self.within_s:g} s are due."
            )
            return Verdict(self.name, "invalid", text, anomaly="slow-refusal", **common)
        if len(refused) < self.at_least:
            text = f"Nothing was tested: {told}, {self.at_least} were expected."
            return Verdict(self.name, "unknown", text, **common)
        return Verdict(self.name, "valid", f"All is as it should be: {told}.", **common)


def fails_fast(
    *, nodes: int = 1, within: Duration = 1.0, settle: Duration = 1.5, at_least: int = 10
) -> FailsFast:
    """Check that in a netsplit `nodes` nodes at least, those of the minority, refuse every request
    as unavailable, 95 % of them `within` that time, from `settle` after the cut to its end.

    Anomalies: `minority-serves` (fewer refuse), `slow-refusal`. `unknown`: there was no netsplit of
    that length, or fewer than `at_least` refusals.
    """
    return FailsFast(nodes, to_seconds(within, "within"), to_seconds(settle, "settle"), at_least)


def _requests(history: History) -> Sequence[Op]:
    return [op for op in history.ops if op.f == REQUEST]


def _of_load(history: History) -> list[Op]:
    """The requests of the load as ops, in order of time; each by a process of its own."""
    found = []
    for number, sample in enumerate(history.timeline.load):
        f, _, node = sample.route.partition(" ")
        if f != REQUEST:
            continue
        start = sample.time - round(sample.duration_s * 1e9)
        outcome = {200: "ok", 429: "fail", 503: "fail"}.get(sample.status, "info")
        error = {200: None, 429: MISMATCH}.get(sample.status, f"status {sample.status}")
        end = None if outcome == "info" else sample.time
        op = Op(number, f, "load", None, outcome, None, start, end, start, end, node, error)  # type: ignore[arg-type]
        found.append(op)
    return sorted(found, key=lambda op: op.start)


def _cut(history: History, settle_s: float) -> tuple[int, int] | None:
    """The longest netsplit, from `settle_s` after its beginning on."""
    spans = [fault for fault in history.timeline.faults if fault.kind == "netsplit"]
    longest = max(spans, key=lambda fault: fault.end - fault.start, default=None)
    if longest is None:
        return None
    start = longest.start + round(settle_s * 1e9)
    return (start, longest.end) if start < longest.end else None
