"""Transactions that write and read registers: who wrote, read and replaced which value.

Values are written once only to each key, so a value is a version. What a transaction shows to
others is its first read of a key, if it had not written it before, and its last write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.check.budget import Budget
from harness.check.isolation.transactions import (
    READS,
    WRITES,
    Cases,
    MicroOps,
    micro_ops,
    quoted,
    unfit_micro_op,
    written_twice,
)
from harness.history import Op

_ROUNDS = 2048  # ops between two looks at the budget


@dataclass
class Register:
    """One key. Transactions are numbers: those that may have been committed are 0, 1 …, those that
    failed -2, -3 …."""

    name: Any
    initial: Any
    written: dict[Any, int] = field(default_factory=dict)
    """The last writes of transactions that may have been committed."""
    overwritten: dict[Any, int] = field(default_factory=dict)
    """Their earlier writes."""
    failed: dict[Any, int] = field(default_factory=dict)
    read: dict[Any, list[int]] = field(default_factory=dict)
    """Of each value: the acknowledged transactions whose first read it was."""
    repeats: list[tuple[Any, int]] = field(default_factory=list)
    """Other reads: within a transaction that had met the key before."""
    met: list[tuple[int, Any, Any]] = field(default_factory=list)
    """Transactions with the first and the last version that they show."""
    read_then_written: list[tuple[Any, int]] = field(default_factory=list)
    ambiguous: set[Any] = field(default_factory=set)
    """Values that more than one transaction may have put there."""

    def versions(self) -> dict[Any, None]:
        """All values that it may have held, the initial one first."""
        return dict.fromkeys((self.initial, *self.written, *self.read))


@dataclass
class Registers:
    """All keys, and the transactions by number."""

    ops: list[Op] = field(default_factory=list)
    failed: list[Op] = field(default_factory=list)
    keys: dict[Any, Register] = field(default_factory=dict)
    cases: Cases = field(default_factory=Cases)

    def op(self, number: int) -> Op:
        """The transaction of that number, whether it failed or not."""
        return self.ops[number] if number >= 0 else self.failed[-2 - number]


def collect(ops: Iterable[Op], initial: Any, budget: Budget) -> Registers:
    """Number everything. O(micro-ops). Raises `UnfitError`, and TypeError for what has no hash."""
    registers = Registers()
    for count, op in enumerate(ops):
        if not count % _ROUNDS:
            budget.demand()
        if op.outcome == "fail":
            number = -2 - len(registers.failed)
            registers.failed.append(op)
        else:
            number = len(registers.ops)
            registers.ops.append(op)
        _take(registers, op, number, micro_ops(op), initial)
    for register in registers.keys.values():
        for value in register.ambiguous & register.read.keys():
            reader = registers.ops[register.read[value][0]]
            raise written_twice(reader, register.name, value)
    return registers


def _take(registers: Registers, op: Op, number: int, micros: MicroOps, initial: Any) -> None:
    """Enter what one transaction did."""
    first: dict[Any, Any] = {}
    known: dict[Any, Any] = {}
    last: dict[Any, Any] = {}
    for micro in micros:
        try:
            f, key, value = micro
        except (TypeError, ValueError):
            raise unfit_micro_op(op, micro, '["w", …]') from None
        register = registers.keys.get(key)
        if register is None:
            register = registers.keys[key] = Register(key, initial)
        if f in READS:
            if op.outcome != "ok":
                continue
            if key not in known:
                first[key] = value
                register.read.setdefault(value, []).append(number)
            else:
                hash(value)
                register.repeats.append((value, number))
                if known[key] != value:
                    _disagreement(registers, op, key, value, known[key])
            known[key] = value
        elif f in WRITES and f != "append":
            if number < 0:
                register.failed[value] = number
                continue
            if key in last and last[key] != value:
                _enter(register, register.overwritten, last[key], number)
            last[key] = known[key] = value
        else:
            raise unfit_micro_op(op, micro, '["w", …]')
    for key, value in last.items():
        _enter(registers.keys[key], registers.keys[key].written, value, number)
        if key in first and op.outcome == "ok":
            registers.keys[key].read_then_written.append((first[key], number))
    for key in {**first, **last}:
        end = last.get(key, first.get(key))
        registers.keys[key].met.append((number, first.get(key, end), end))


def _enter(register: Register, table: dict[Any, int], value: Any, number: int) -> None:
    others = (register.written.get(value, number), register.overwritten.get(value, number))
    if value == register.initial or others != (number, number):
        register.ambiguous.add(value)
    table[value] = number


def _disagreement(registers: Registers, op: Op, key: Any, value: Any, expected: Any) -> None:
    sentence = (
        f"{{0}} read {quoted(key)} = {quoted(value)}, but by its own reads and writes it had to be "
        f"{quoted(expected)}"
    )
    registers.cases.add("internal", key, sentence, op)
