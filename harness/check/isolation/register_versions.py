"""The order of the versions of each register, as far as it can be inferred.

The initial value precedes all others. What else is known depends on what is assumed (Elle,
section 5): that a transaction's write replaced what it had read (`wfr_keys`), that every process
sees each key advance (`sequential_keys`), or that everybody does (`linearizable_keys`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.check.budget import Budget
from harness.check.isolation.graph import Edges, components
from harness.check.isolation.registers import Register, Registers
from harness.check.isolation.transactions import quoted


@dataclass(frozen=True)
class Step:
    """One version precedes another: transaction `a` shows the first and `b` the second."""

    before: Any
    after: Any
    a: int
    b: int


Steps = dict[Any, list[Step]]
"""Of each key."""


@dataclass(frozen=True)
class Assumptions:
    """What is assumed of each key on its own."""

    sequential: bool = False
    linearizable: bool = False
    wfr: bool = False


def version_steps(registers: Registers, assumed: Assumptions, budget: Budget) -> Steps:
    """What precedes what, beside the initial value. An assumption that contradicts itself or those
    before it is a case of `cyclic-versions`, and is not made for that key.

    O(micro-ops · log), and for linearizable keys times how many transactions are at work at once.
    """
    kept: Steps = {}
    sources = (
        (assumed.wfr, _replaced),
        (assumed.sequential, _by_process),
        (assumed.linearizable and _timed(registers), _by_time),
    )
    for wanted, source in sources:
        if not wanted:
            continue
        found: Steps = {}
        for key, register in registers.keys.items():
            budget.worked(len(register.met))
            steps = list(source(registers, register))
            if steps:
                found[key] = kept.get(key, []) + steps
        cyclic = _cyclic(registers, found, budget)
        for key, steps in found.items():
            if key in cyclic:
                _tell_cycle(registers, key, steps, cyclic[key])
            else:
                kept[key] = steps
    return kept


def _replaced(registers: Registers, register: Register) -> Iterator[Step]:
    shows = {number: end for number, _, end in register.met}
    for value, number in register.read_then_written:
        if value != shows[number]:
            yield Step(value, shows[number], number, number)


def _by_process(registers: Registers, register: Register) -> Iterator[Step]:
    last: dict[int, tuple[int, Any]] = {}
    for number, first, end in register.met:
        process = registers.ops[number].process
        if process in last and last[process][1] != first:
            yield Step(last[process][1], first, last[process][0], number)
        last[process] = (number, end)


def _by_time(registers: Registers, register: Register) -> Iterator[Step]:
    """From each transaction to those that begin after its end, but not to those that begin after
    the end of one of these: they follow anyway."""
    running: list[tuple[int, int, frozenset[int]]] = []
    ended: set[int] = set()
    shows = {number: (first, end) for number, first, end in register.met}
    for number, first, _ in register.met:
        op = registers.ops[number]
        while running and running[0][0] < op.index:
            _, other, replaces = heapq.heappop(running)
            ended = (ended - replaces) | {other}
        for before in ended:
            if shows[before][1] != first:
                yield Step(shows[before][1], first, before, number)
        if op.end_index is not None:
            heapq.heappush(running, (op.end_index, number, frozenset(ended)))


def _timed(registers: Registers) -> bool:
    """Whether beginnings are known, and not only ends."""
    return any(op.end_index is not None and op.end_index > op.index for op in registers.ops)


def _cyclic(registers: Registers, steps: Steps, budget: Budget) -> dict[Any, set[Any]]:
    """The keys whose versions are in a cycle, with the versions of one of those."""
    numbers: dict[tuple[Any, Any], int] = {}
    pairs: list[tuple[int, int]] = []
    for key, known in steps.items():
        budget.worked(len(known))
        register = registers.keys[key]
        initial = numbers.setdefault((key, register.initial), len(numbers))
        for value in register.versions():
            if value != register.initial:
                pairs.append((initial, numbers.setdefault((key, value), len(numbers))))
        pairs += [(numbers[key, step.before], numbers[key, step.after]) for step in known]
    budget.demand()
    array = np.array(pairs, np.int64).reshape(-1, 2)
    budget.demand()
    edges = Edges(array[:, 0], array[:, 1], np.zeros(len(array), np.int64))
    component = components(edges, len(numbers)).tolist()
    budget.demand()
    knots: dict[tuple[Any, int], set[Any]] = {}
    for (key, value), number in numbers.items():
        knots.setdefault((key, component[number]), set()).add(value)
    return {key: values for (key, _), values in knots.items() if len(values) > 1}


def _tell_cycle(registers: Registers, key: Any, steps: list[Step], values: set[Any]) -> None:
    within = [step for step in steps if step.before in values and step.after in values]
    initial = registers.keys[key].initial
    back = next((step for step in within if step.after == initial), within[-1])
    told = (
        f"{quoted(key)} was {quoted(back.before)} in {{0}} and {quoted(back.after)} in {{1}} later"
    )
    if back.after == initial:
        told += ", which is what it held before anybody wrote it"
    else:
        told += ", but there is evidence of the opposite order too"
    ops = [registers.ops[back.a], registers.ops[back.b]]
    forth = next((s for s in within if (s.before, s.after) == (back.after, back.before)), None)
    if forth is not None and back.after != initial:
        told = told.replace(
            "there is evidence of the opposite order too",
            f"{quoted(forth.before)} in {{2}} and {quoted(forth.after)} in {{3}} after that",
        )
        ops += [registers.ops[forth.a], registers.ops[forth.b]]
    registers.cases.add("cyclic-versions", key, told, *ops)
