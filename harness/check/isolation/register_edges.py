"""Dependencies between transactions on registers, and why each is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.check.budget import Budget
from harness.check.isolation.graph import Builder, Label
from harness.check.isolation.register_versions import Steps
from harness.check.isolation.registers import Register, Registers
from harness.check.isolation.transactions import quoted


def add_dependencies(builder: Builder, registers: Registers, steps: Steps, budget: Budget) -> None:
    """Add ww, wr and rw. O(micro-ops + version steps · readers of a version)."""
    pairs: dict[Label, list[tuple[int, int]]] = {Label.WW: [], Label.WR: [], Label.RW: []}
    for key, register in registers.keys.items():
        budget.worked(len(register.met))
        written, read = register.written, register.read
        for value, readers in read.items():
            if value in written:
                pairs[Label.WR] += [(written[value], reader) for reader in readers]
        beginners = read.get(register.initial, [])
        builder.fan(list(dict.fromkeys(beginners)), list(dict.fromkeys(written.values())), Label.RW)
        for before, after in {(step.before, step.after) for step in steps.get(key, ())}:
            # (The initial value comes before all, which has been told above.)
            if after not in written or before == register.initial:
                continue
            if before in written:
                pairs[Label.WW].append((written[before], written[after]))
            pairs[Label.RW] += [(reader, written[after]) for reader in read.get(before, ())]
    for label, found in pairs.items():
        budget.demand()
        array = np.array(found, np.int64).reshape(-1, 2)
        builder.add(array[:, 0], array[:, 1], label)


def because(registers: Registers, steps: Steps, a: int, b: int, label: Label) -> tuple[str, Any]:
    """Why transaction a precedes b: what one of them wrote or read, and the key."""
    for key, register in registers.keys.items():
        name = quoted(key)
        theirs = [value for value, writer in register.written.items() if writer == b]
        mine = [value for value, writer in register.written.items() if writer == a]
        if label is Label.WR:
            for value in mine:
                if b in register.read.get(value, ()):
                    return f"{{1}} read {name} = {quoted(value)}, which {{0}} wrote", key
            continue
        if not theirs:
            continue
        after = theirs[0]
        if label is Label.RW and a in register.read.get(register.initial, ()):
            value = quoted(register.initial)
            return f"{{0}} read {name} = {value} before {{1}} wrote {quoted(after)}", key
        for before in _known_before(register, steps.get(key, []), after):
            if label is Label.WW and before in mine:
                return (
                    f"{{0}} wrote {name} = {quoted(before)} before {{1}} wrote {quoted(after)}",
                    key,
                )
            if label is Label.RW and a in register.read.get(before, ()):
                return (
                    f"{{0}} read {name} = {quoted(before)} before {{1}} wrote {quoted(after)}",
                    key,
                )
    raise AssertionError(f"no {label.name} from {a} to {b}")


def _known_before(register: Register, steps: list[Any], after: Any) -> list[Any]:
    return [step.before for step in steps if step.after == after]
