"""Registers in real time: each key for itself must have been one register that all could see."""

from __future__ import annotations

from collections.abc import Iterator

from harness.check.budget import Budget
from harness.check.isolation.registers import Register, Registers
from harness.check.models import CasRegister
from harness.check.monitors import decide
from harness.history import Op

STALE = "G-single-item-realtime"


def judge_keys(registers: Registers, budget: Budget) -> None:
    """Add a case for every key whose reads and writes have no order within real time.

    A strict-serializable database orders all transactions within real time, so each key for itself
    is linearizable: a read is a read, a write a write, and a transaction that does both a
    compare-and-set. Strong snapshot isolation demands the same (a snapshot holds whatever was
    committed before it was taken). What the values do not tell, the order of the versions, need not
    be assumed for this. Reads of what nobody wrote, or nobody left there, are cases of their own
    and left out. O(n log n).
    """
    by_index = {op.index: op for op in registers.ops}
    for register in registers.keys.values():
        ops = sorted(_ops(registers, register), key=lambda op: op.index)
        judgement = decide(CasRegister(initial=register.initial), ops, budget)
        if judgement is not None and not judgement.legal:
            assert judgement.sentence is not None
            sentence = judgement.sentence.removesuffix(".").replace("{", "{{").replace("}", "}}")
            told = [by_index[op.index] for op in judgement.ops]
            registers.cases.add(STALE, register.name, sentence, *told)


def _ops(registers: Registers, register: Register) -> Iterator[Op]:
    """What each transaction did to the key, as an op on a single register."""
    reads = {
        number: value
        for value, readers in register.read.items()
        if value == register.initial or value in register.written
        for number in readers
    }
    writes = {number: value for value, number in register.written.items()}
    for number in {**reads, **writes}:
        told = registers.ops[number]
        if number not in writes:
            yield _op(told, "read", None, reads[number])
        elif number in reads:
            yield _op(told, "cas", [reads[number], writes[number]], None)
        else:
            yield _op(told, "write", writes[number], None)


def _op(told: Op, f: str, value: object, result: object) -> Op:
    return Op(
        told.process,
        f,
        None,
        value,
        told.outcome,
        result,
        told.start,
        told.end,
        told.index,
        told.end_index,
        told.node,
    )
