"""The check itself: infer, search, judge, tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import collector
from harness.check.budget import Budget, OverBudgetError
from harness.check.isolation.anomalies import CYCLES, EMPTY, gravest_first
from harness.check.isolation.cycles import Tangles, search, tangles
from harness.check.isolation.evidence import Evidence, of_case, of_cycle
from harness.check.isolation.models import boundary
from harness.check.isolation.orders import (
    add_given_order,
    add_process_order,
    add_realtime_order,
)
from harness.check.isolation.register_times import STALE
from harness.check.isolation.transactions import READS, Inference, UnfitError, micro_ops
from harness.check.isolation.witness import shortest_cycle
from harness.check.verdict import Verdict
from harness.history import History, Op

Infer = Callable[[History, Budget], Inference]

_EDGE = 24  # bytes of an edge in arrays
_ORDERING = 110  # bytes for each transaction, to put them in the order of real time


@dataclass
class _Findings:
    """What is known so far; it stays when the budget runs out."""

    inference: Inference | None = None
    tangled: Tangles | None = None
    linked: bool = False  # the data put some transactions in order …
    ordered: bool = False  # … or what was asked for did, and something was read
    called: dict[str, str] | None = None  # what kinds of cycles are called, if not by their names

    @property
    def kinds(self) -> set[str]:
        kinds = set(self.inference.cases.first) if self.inference else set()
        found = set(self.tangled.found) if self.tangled else set()
        return kinds | (found if self.called is None else set(self.called))


@dataclass(frozen=True)
class Isolation:
    """The check that `list_append` and `rw_register` make. `asked` are the consistency models, or
    without any the anomalies; `judged` is all that makes a verdict invalid."""

    workload: str
    asked: str
    model: str | None
    judged: frozenset[str]
    infer: Infer
    order: Mapping[int, float]
    timeout_s: float
    memory: int

    @property
    def name(self) -> str:
        return f"{self.workload}({self.asked})"

    def __call__(self, history: History) -> Verdict:
        with collector.paused():
            return self._judge(history)

    def _judge(self, history: History) -> Verdict:
        budget = Budget(self.timeout_s, self.memory)
        findings = _Findings()
        stopped: str | None = None
        try:
            self._look(history, findings, budget)
        except OverBudgetError as error:
            stopped = f"the search passed {budget.told(error.limit)}"
        except UnfitError as error:
            stopped = f"the history does not fit: {error}"
        return self._verdict(history, findings, stopped, budget)

    def _look(self, history: History, findings: _Findings, budget: Budget) -> None:
        inference = self.infer(history, budget)
        self._search(inference, history, findings, budget)
        if inference.in_real_time is None or not history.realtime or STALE not in self.judged:
            return
        for stricter in inference.in_real_time:
            if findings.kinds & self.judged:
                return
            again = stricter(history, budget)
            if again is not None:
                self._adopt(again, history, findings, budget)

    def _adopt(
        self, again: Inference, history: History, findings: _Findings, budget: Budget
    ) -> None:
        """Take what was inferred with more assumptions, if that finds anything."""
        assert findings.tangled is not None
        known = findings.tangled.found
        more = _Findings()
        self._search(again, history, more, budget)
        assert more.tangled is not None
        called = {
            kind if kind in known else _in_real_time(kind): kind for kind in more.tangled.found
        }
        if called.keys() & self.judged:
            findings.inference, findings.tangled = again, more.tangled
            findings.called = {**{kind: kind for kind in known}, **called}

    def _search(
        self, inference: Inference, history: History, findings: _Findings, budget: Budget
    ) -> None:
        findings.inference = inference
        builder = inference.builder
        findings.linked = builder.count > 0
        budget.reserve(_ORDERING * len(inference.ops))
        if self.order:
            add_given_order(builder, inference.ops, self.order)
        variant = self._variant()
        if variant == "-realtime" and history.realtime:
            add_realtime_order(builder, inference.ops)
        elif variant == "-process":
            add_process_order(builder, inference.ops)
        budget.reserve(_EDGE * builder.count)
        edges = builder.edges()
        # (Those of an order may end in between.)
        findings.ordered = findings.linked or (
            bool((edges.target < builder.transactions).any()) and _read_anything(inference.ops)
        )
        budget.demand()
        findings.tangled = tangles(edges, builder.nodes, budget)
        search(findings.tangled, variant, inference.cases.first, budget)

    def _variant(self) -> str:
        """The order that the asked models speak of. Real time holds that of processes too."""
        for variant in ("-realtime", "-process"):
            if any(kind + variant in self.judged for kind in CYCLES):
                return variant
        return ""

    def _verdict(
        self, history: History, findings: _Findings, stopped: str | None, budget: Budget
    ) -> Verdict:
        kinds = findings.kinds
        bad = gravest_first(kinds & self.judged)
        reported = list(bad)
        if stopped is None and not findings.ordered:
            reported.append(EMPTY)
        weakest, stronger = boundary(kinds)
        data: dict[str, Any] = {"anomalies": reported, "not": weakest, "also_not": stronger}
        if findings.inference is not None:
            counts = findings.inference.cases.count
            data["cases"] = {kind: counts[kind] for kind in bad if kind in counts}
        evidence = None
        if bad:
            evidence = self._evidence(bad[0], findings)
            data |= evidence.data
        if stopped is not None:
            data["undecided"] = stopped
        result, summary = self._said(findings, bad, weakest, stopped, evidence)
        return Verdict(
            check=self.name,
            result=result,  # type: ignore[arg-type]
            summary=summary,
            evidence="" if evidence is None else evidence.text,
            anomaly=reported[0] if reported else None,
            model=self.model,
            ops=len(history),
            seconds=budget.spent_s,
            data=data,
        )

    def _said(
        self,
        findings: _Findings,
        bad: list[str],
        weakest: list[str],
        stopped: str | None,
        evidence: Evidence | None,
    ) -> tuple[str, str]:
        if evidence is not None:
            also = f" (with {', '.join(bad[1:])})" if bad[1:] else ""
            rules_out = " and ".join(weakest)
            return "invalid", f"{bad[0]}{also} rules out {rules_out}: {evidence.summary}"
        if stopped is not None:
            return "unknown", f"Undecided: {stopped}."
        alone = "no transaction read or replaced what another wrote"
        if not findings.ordered:
            return "unknown", f"Nothing was tested: {alone}."
        assert findings.inference is not None
        count = len(findings.inference.ops)
        told = "excluded by" if self.model else "of"
        but = "" if findings.linked else f" (but {alone}: there was only when they ran to go by)"
        return "valid", f"{count} transactions show nothing {told} {self.asked}{but}."

    def _evidence(self, kind: str, findings: _Findings) -> Evidence:
        inference, tangled = findings.inference, findings.tangled
        assert inference is not None
        case = inference.cases.first.get(kind)
        if case is not None:
            return of_case(case, inference.cases.count[kind])
        assert tangled is not None
        found = kind if findings.called is None else findings.called[kind]
        steps = shortest_cycle(tangled, found, len(inference.ops))
        return of_cycle(kind, steps, inference, self._variant().removeprefix("-"))


def _in_real_time(kind: str) -> str:
    """What a cycle is called that needs what strong snapshot isolation says of each key: it shows
    no more than that this, or strict serializability, does not hold."""
    plain = kind.removesuffix("-realtime")
    return f"{plain}-realtime" if plain in ("G-nonadjacent-item", "G2-item") else STALE


def _read_anything(ops: Sequence[Op]) -> bool:
    return any(op.outcome == "ok" and any(m[0] in READS for m in micro_ops(op)) for op in ops)
