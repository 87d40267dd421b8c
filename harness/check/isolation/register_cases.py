"""What is wrong with transactions on registers before any order of them is asked for."""

from __future__ import annotations

from typing import Any

from harness.check.budget import Budget
from harness.check.isolation.registers import Register, Registers
from harness.check.isolation.transactions import READS, micro_ops, quoted


def find_cases(registers: Registers, known_initial: bool, budget: Budget) -> None:
    """Add to the cases what single reads and pairs of transactions show. O(micro-ops)."""
    empty = any(None in register.read for register in registers.keys.values())
    for count, register in enumerate(registers.keys.values()):
        if not count % 1024:
            budget.demand()
        reads = [(value, number) for value, who in register.read.items() for number in who]
        for value, number in reads + register.repeats:
            _bad_read(registers, register, value, number)
        _lost_updates(registers, register)
        _phantoms(registers, register, known_initial or empty)


def _bad_read(registers: Registers, register: Register, value: Any, number: int) -> None:
    reader, name = registers.ops[number], register.name
    if value in register.written or value == register.initial:
        return
    told = f"{{1}} read {quoted(name)} = {quoted(value)}"
    writer = register.overwritten.get(value)
    if writer is not None:
        if writer != number:
            sentence = f"{told}, but {{0}} wrote {quoted(name)} again after that"
            registers.cases.add("G1b", name, sentence, registers.ops[writer], reader)
    elif value in register.failed:
        sentence = f"{told}, which only {{0}} had written, and it failed"
        registers.cases.add("G1a", name, sentence, registers.op(register.failed[value]), reader)


def _lost_updates(registers: Registers, register: Register) -> None:
    met: dict[Any, int] = {}
    for value, number in register.read_then_written:
        other = met.setdefault(value, number)
        if other != number:
            sentence = (
                f"{{0}} and {{1}} both read {quoted(register.name)} = {quoted(value)} and both "
                "wrote it"
            )
            ops = (registers.ops[other], registers.ops[number])
            registers.cases.add("lost-update", register.name, sentence, *ops)


def _phantoms(registers: Registers, register: Register, known: bool) -> None:
    """Values that nobody wrote, unless one can be what the key held before it all began."""
    writes = (register.written, register.overwritten, register.failed)
    strange = {
        value: readers
        for value, readers in register.read.items()
        if value != register.initial and not any(value in table for table in writes)
    }
    if strange and not known:
        strange.pop(_first_read(registers, register), None)
    for value, readers in strange.items():
        sentence = (
            f"{{0}} read {quoted(register.name)} = {quoted(value)}, but nobody ever wrote that"
        )
        for number in readers:
            registers.cases.add("phantom-read", register.name, sentence, registers.ops[number])


def _first_read(registers: Registers, register: Register) -> Any:
    """What was read of the key by the first to end among those that met it; None if it wrote."""
    told = [registers.ops[number] for number, _, _ in register.met]
    told = [op for op in told if op.outcome == "ok"]
    first = min(told, key=lambda op: op.index if op.end_index is None else op.end_index)
    f, _, value = next(micro for micro in micro_ops(first) if registers.keys[micro[1]] is register)
    return value if f in READS else None
