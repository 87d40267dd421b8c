"""The check itself: infer, search, judge, tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from harness.check.isolation.transactions import Inference, UnfitError
from harness.check.isolation.witness import shortest_cycle
from harness.check.verdict import Verdict
from harness.history import History

Infer = Callable[[History, Budget], Inference]


@dataclass
class _Findings:
    """What is known so far; it stays when the budget runs out."""

    inference: Inference | None = None
    tangled: Tangles | None = None
    linked: bool = False  # the data put some transactions in order …
    ordered: bool = False  # … or what was asked for did

    @property
    def kinds(self) -> set[str]:
        kinds = set(self.inference.cases.first) if self.inference else set()
        return kinds | (set(self.tangled.found) if self.tangled else set())


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
        findings.inference = inference
        builder = inference.builder
        findings.linked = builder.any_edge
        budget.demand()
        if self.order:
            add_given_order(builder, inference.ops, self.order)
        variant = self._variant()
        if variant == "-realtime" and history.realtime:
            add_realtime_order(builder, inference.ops)
        elif variant == "-process":
            add_process_order(builder, inference.ops)
        budget.demand()
        edges = builder.edges()
        # (Those of an order may end in between.)
        findings.ordered = bool((edges.target < builder.transactions).any())
        budget.demand()
        findings.tangled = tangles(edges, builder.nodes, budget)
        search(findings.tangled, variant, inference.cases.first, budget)
        timed = variant == "-realtime" and history.realtime
        if timed and inference.in_real_time is not None and not findings.kinds & self.judged:
            inference.in_real_time(budget)

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
        steps = shortest_cycle(tangled, kind, len(inference.ops))
        return of_cycle(kind, steps, inference, self._variant().removeprefix("-"))
