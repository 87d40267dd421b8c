"""What may be tried next: one generator for each way in which a plan can become smaller.

Each starts from a plan that fails. It yields batches of candidates, the boldest first, and is sent
the number of the first that was accepted, or None. Whatever was accepted last is the new plan.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

from harness.plan import Plan, PlannedFault
from harness.shrink import edits
from harness.shrink.aloud import listed, seconds
from harness.shrink.hints import Hints
from harness.shrink.judge import Candidate
from harness.shrink.search import Search, ddmin, smallest, without_one
from harness.workload.script import PlannedOp

T = TypeVar("T")

Care: TypeAlias = Literal["quick", "usual", "careful"]
"""How sure to be of a candidate before going on from it."""

MARGINS_S = (0.5, 1.5)
"""What is left before the first fault and after the last one, when a run is made shorter."""

PAUSE_S = 0.5
"""What is left of a stretch in which nothing happens."""

WORTH_S = 0.5
"""A run that would become shorter by less than this is left as it is."""

THINNING = (8, 4, 2)
"""One of so many ops is kept; tried in this order."""

FEW_OPS = 24
"""So few ops are tried one by one, in the order of time."""

SINGLE_OPS = 100
"""From so many ops on, those needed are looked for one after the other."""

_NAMED = 6  # what the words of a candidate name; more is counted


@dataclass(frozen=True)
class Try:
    """A batch of candidates, None for what cannot be. `hopeful` says that the first of them will
    probably be accepted."""

    candidates: Sequence[Candidate | None]
    care: Care = "usual"
    hopeful: bool = True


Steps: TypeAlias = Generator[Try, int | None, None]


def fewer_faults(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Only the faults that are needed, which may be none: those hinted at first."""
    hinted = [fault for fault in plan.faults if fault.id in hints.faults]
    order: list[str] = []
    if hinted and len(hinted) < len(plan.faults):
        what = _only([fault.id for fault in hinted], "fault")
        only = edits.with_faults(plan, hinted)
        from_s, to_s = _busy(only)
        around = edits.window(only, from_s - MARGINS_S[-1], to_s + MARGINS_S[-1])
        # Every run is as long as the plan, so it pays to make it shorter at once.
        short = _offer(around, f"{what}, and {seconds(MARGINS_S[-1])} around")
        batch = [short if _saves(only, short) else None, Candidate(only, what)]
        if (got := (yield Try(batch, "quick"))) is not None:
            plan = _plan(batch, got)
        # If they are not enough, they are still needed, perhaps.
        order = [fault.id for fault in hinted]

    def candidate(kept: Sequence[PlannedFault]) -> Candidate:
        return Candidate(
            edits.with_faults(plan, kept), _only([fault.id for fault in kept], "fault")
        )

    faults = sorted(plan.faults, key=lambda fault: fault.id not in order)
    yield from _search(smallest(faults, ways=ways), candidate, "quick")


def each_fault(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Without any one of the faults: none is left that is not needed."""

    def candidate(kept: Sequence[PlannedFault]) -> Candidate:
        gone = [fault.id for fault in plan.faults if fault not in kept]
        return Candidate(edits.with_faults(plan, kept), f"without {listed(gone)}")

    yield from _search(without_one(plan.faults), candidate, "usual")


def no_load(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Without the load beside the workload."""
    if plan.load is not None and plan.workload is not None:
        yield Try([Candidate(replace(plan, load=None), "no load")])


def shorter(plan: Plan, hints: Hints, ways: int) -> Steps:
    """A shorter run: without what comes after the faults, before them and between them."""
    batch = [offer for offer in (_without_waiting(plan),) if _saves(plan, offer)]
    if (got := (yield Try(batch))) is not None:
        plan = _plan(batch, got)
    if not plan.faults:
        yield from _shorter_without_faults(plan, hints)
        return
    for offers in (_both_ends, _tails, _heads):
        batch = [offer for offer in offers(plan) if _saves(plan, offer)]
        got = yield Try(batch)
        if got is not None:
            plan = _plan(batch, got)
    # From the end, so that the earlier gaps stay where they are.
    for from_s, to_s in reversed(edits.gaps(plan)):
        batch = []
        for rest_s in (MARGINS_S[0], (to_s - from_s) / 4):
            cut = edits.cut_out(plan, from_s + rest_s, to_s - rest_s)
            offer = _offer(cut, f"a shorter pause at {seconds(from_s)}")
            batch += [offer] if _saves(plan, offer) else []
        got = yield Try(batch)
        if got is not None:
            plan = _plan(batch, got)


def _without_waiting(plan: Plan) -> Candidate | None:
    """All ops stay, and everything is done one after the other."""
    made = plan
    for from_s, to_s in reversed(edits.idle(plan)):
        if to_s - from_s > 2 * PAUSE_S:
            made = edits.cut_out(made, from_s + PAUSE_S / 2, to_s - PAUSE_S / 2) or made
    busy_s = [op.at_s for op in made.ops or ()] + [edits.faults_end(made)]
    made = edits.until(made, max(busy_s) + PAUSE_S) or made
    return _offer(None if made is plan else made, "without waiting")


def _both_ends(plan: Plan) -> Iterable[Candidate | None]:
    for margin_s in MARGINS_S:
        from_s, to_s = _busy(plan)
        made = edits.window(plan, from_s - margin_s, to_s + margin_s)
        yield _offer(made, f"only {seconds(margin_s)} around the faults")


def _tails(plan: Plan) -> Iterable[Candidate | None]:
    end_s = _busy(plan)[1]
    halfway_s = (edits.length(plan) - end_s) / 2
    for rest_s in (*MARGINS_S, halfway_s):
        made = edits.until(plan, end_s + rest_s)
        yield _offer(made, f"only {seconds(rest_s)} after the last fault")


def _heads(plan: Plan) -> Iterable[Candidate | None]:
    begin_s = _busy(plan)[0]
    for rest_s in (*MARGINS_S, begin_s / 2):
        # With what came before the faults' phase, or without it.
        for from_s in (-1.0, 0.0):
            made = edits.cut_out(plan, from_s, begin_s - rest_s)
            yield _offer(made, f"only {seconds(rest_s)} before the first fault")


def _shorter_without_faults(plan: Plan, hints: Hints) -> Steps:
    if hints.window_s is not None:
        from_s, to_s = hints.window_s
        batch = [
            _offer(
                edits.window(plan, from_s - margin_s, to_s + margin_s), "what the evidence names"
            )
            for margin_s in MARGINS_S
        ]
        batch = [offer for offer in batch if _saves(plan, offer)]
        got = yield Try(batch)
        if got is not None:
            plan = _plan(batch, got)
    while True:
        half_s = edits.length(plan) / 2
        batch = [
            _offer(edits.until(plan, half_s), "the first half of the time"),
            _offer(edits.window(plan, half_s, math.inf), "the second half of the time"),
        ]
        batch = [offer for offer in batch if _saves(plan, offer)]
        got = yield Try(batch)
        if got is None:
            return
        plan = _plan(batch, got)


def fewer_ops(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Fewer ops by large steps: those of the clients and keys that the evidence names; then one of
    eight, of four, of two, as long as that goes well."""
    if plan.ops is None:
        return
    clients, keys = hints.clients, {_id(key) for key in hints.keys}
    batch = []
    if clients and keys:
        made = edits.where(plan, lambda op: op.client in clients and _id(op.request.key) in keys)
        batch.append(_offer(made, "the evidence's clients on its keys"))
    if keys:
        made = edits.where(plan, lambda op: _id(op.request.key) in keys)
        batch.append(_offer(made, "the evidence's keys"))
    batch = [offer for offer in batch if _drops(plan, offer)]
    got = yield Try(batch)
    if got is not None:
        plan = _plan(batch, got)
    steps = list(THINNING)
    while steps:
        batch = [_offer(edits.thinned(plan, step), f"1 of {step} ops") for step in steps]
        got = yield Try(batch)
        if got is None:
            return
        plan = _plan(batch, got)
        # What was too much once will be too much again.
        steps = [step for step in steps if step <= steps[got]]


def fewer_clients(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Only the clients that are needed; those that stay keep their numbers, and so their nodes."""
    clients = sorted(
        {op.client for op in plan.ops or ()}, key=lambda c: (c not in hints.clients, c)
    )

    def candidate(kept: Sequence[int]) -> Candidate | None:
        what = _only([str(client) for client in sorted(kept)], "client")
        return _offer(edits.where(plan, lambda op: op.client in kept), what)

    if len(clients) > 1:
        yield from _search(smallest(clients, least=1, ways=ways), candidate)


def fewer_keys(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Only ops on the keys that are needed; those without a key count as one."""
    ids = {_id(op.request.key): op.request.key for op in plan.ops or ()}
    hinted = {_id(key) for key in hints.keys}
    keys = sorted(ids, key=lambda key: key not in hinted)

    def candidate(kept: Sequence[str]) -> Candidate | None:
        chosen = set(kept)
        what = _only([str(ids[key]) for key in kept], "key")
        return _offer(edits.where(plan, lambda op: _id(op.request.key) in chosen), what)

    if len(keys) > 1:
        yield from _search(smallest(keys, least=1, ways=ways), candidate)


def fewer_moments(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Without the ops of some stretches of time; down to single ops where few are left."""
    ops = sorted(plan.ops or (), key=lambda op: op.at_s)
    if len(ops) > 1:
        finest = 1 if len(ops) <= FEW_OPS else len(ops) // 8
        yield from _search(ddmin(ops, finest=finest), _of_ops(plan))


def single_ops(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Only the ops that are needed."""
    ops = sorted(plan.ops or (), key=lambda op: op.at_s)
    if 1 < len(ops) <= SINGLE_OPS:
        yield from _search(smallest(ops, least=1, ways=ways), _of_ops(plan))


def fewer_nodes(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Fewer nodes in what a fault hits or cuts; then fewer pairs of a netsplit."""
    for id in [fault.id for fault in plan.faults]:
        for parts, made in ((edits.concerned, edits.hitting), (edits.pairs, edits.with_pairs)):
            fault = _fault(plan, id)
            names = parts(plan, fault)
            if len(names) < 2:
                continue
            found: list[Candidate] = []
            yield from _search(
                without_one(names, least=1),
                functools.partial(_on, made, plan, fault),
                found=found,
            )
            plan = found[-1].plan if found else plan


def _on(
    made: Callable[[Plan, PlannedFault, Sequence[Any]], Plan | None],
    plan: Plan,
    fault: PlannedFault,
    kept: Sequence[Any],
) -> Candidate | None:
    names = [part if isinstance(part, str) else " from ".join(part) for part in kept]
    return _offer(made(plan, fault, kept), f"{fault.id} only on {listed(names)}")


def shorter_faults(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Faults that are healed earlier: after a quarter of the time, half of it, three quarters."""
    for id in [fault.id for fault in plan.faults]:
        while True:
            fault = _fault(plan, id)
            batch = [
                _offer(edits.lasting(plan, fault, fault.lasting_s * share), f"{id} shorter")
                for share in (0.25, 0.5, 0.75)
                if fault.lasting_s * (1 - share) >= WORTH_S
            ]
            got = yield Try(batch)
            if got is None:
                break
            plan = _plan(batch, got)


def readable_figures(plan: Plan, hints: Hints, ways: int) -> Steps:
    """Times and sizes that can be read aloud."""
    batch = [
        _offer(edits.rounded(plan, 1), "all times rounded"),
        _offer(edits.rounded(plan, 2), "all times rounded less"),
        _offer(edits.rounded(plan, None), "the faults' times rounded"),
    ]
    yield Try(batch, "careful")


def _search(
    search: Search[T],
    candidate: Callable[[Sequence[T]], Candidate | None],
    care: Care = "usual",
    found: list[Candidate] | None = None,
) -> Steps:
    """Try what `search` yields as `candidate` makes it. The last that was accepted is added to
    `found`."""
    got: int | None = None
    try:
        parts = next(search)
        while True:
            batch = [candidate(part) for part in parts]
            got = yield Try(batch, care, hopeful=False)
            if got is not None and found is not None:
                found.append(_accepted(batch, got))
            parts = search.send(got)
    except StopIteration:
        return


def _of_ops(plan: Plan) -> Callable[[Sequence[PlannedOp]], Candidate | None]:
    def candidate(kept: Sequence[PlannedOp]) -> Candidate | None:
        return _offer(edits.with_ops(plan, kept), f"{len(kept)} of {len(plan.ops or ())} ops")

    return candidate


def _offer(plan: Plan | None, what: str) -> Candidate | None:
    return None if plan is None else Candidate(plan, what)


def _accepted(batch: Sequence[Candidate | None], number: int) -> Candidate:
    chosen = batch[number]
    assert chosen is not None
    return chosen


def _plan(batch: Sequence[Candidate | None], number: int) -> Plan:
    return _accepted(batch, number).plan


def _saves(plan: Plan, offer: Candidate | None) -> bool:
    """Whether it makes a run shorter by what is worth a try."""
    if offer is None:
        return False
    saved_s = edits.length(plan) - edits.length(offer.plan)
    return saved_s >= max(WORTH_S, 0.1 * edits.length(plan))


def _drops(plan: Plan, offer: Candidate | None) -> bool:
    return offer is not None and len(offer.plan.ops or ()) < len(plan.ops or ())


def _busy(plan: Plan) -> tuple[float, float]:
    """From the first fault to the healing of the last one."""
    return min(fault.at_s for fault in plan.faults), edits.faults_end(plan)


def _fault(plan: Plan, id: str) -> PlannedFault:
    return next(fault for fault in plan.faults if fault.id == id)


def _id(key: Any) -> str:
    """A key as something that can stand in a set."""
    return json.dumps(key, sort_keys=True, default=str)


def _only(names: Sequence[str], what: str) -> str:
    if not names:
        return f"no {what}"
    if len(names) > _NAMED:
        return f"only {len(names)} {what}s"
    return f"only {what}{'' if len(names) == 1 else 's'} {listed(names)}"
