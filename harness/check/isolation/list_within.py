"""Whether each transaction on lists agrees with itself, and with what was there before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.check.budget import Budget
from harness.check.isolation.list_versions import Versions
from harness.check.isolation.lists import Lists
from harness.check.isolation.transactions import READS, Cases, micro_ops, quoted


@dataclass(frozen=True)
class Within:
    """What transactions did that met a key more than once."""

    broken: set[int]
    """Those whose own reads and appends do not agree."""
    updates: list[int]
    """First reads of a key that the same transaction then appended to."""
    pairs: list[tuple[int, int]]
    """Two appends to the same key, one after the other."""


def look_within(lists: Lists, cases: Cases, budget: Budget) -> Within:
    """Look at transactions that met a key more than once. O(their micro-ops)."""
    within = Within(set(), [], [])
    broken, updates = within.broken, within.updates
    for count, (number, micros, read) in enumerate(lists.repeated):
        if not count % 2048:
            budget.demand()
        ok = number >= 0 and lists.ops[number].outcome == "ok"
        known: dict[Any, tuple[bool, list[Any]]] = {}
        first_read: dict[Any, int] = {}
        seen: dict[Any, list[list[Any]]] = {}
        last_append: dict[Any, int] = {}
        for f, key, value in micros:
            whole, expected = known.get(key, (False, []))
            if f not in READS:
                append = lists.appends[lists.keys[key]][value]
                if key in last_append:
                    within.pairs.append((last_append[key], append))
                last_append[key] = append
                known[key] = (whole, [*expected, value])
                if ok and any(value in elements for elements in seen.get(key, ())):
                    sentence = f"{{0}} read {quoted(value)} in {quoted(key)} before it appended it"
                    cases.add("future-read", key, sentence, lists.ops[number])
                if key in first_read:
                    updates.append(first_read.pop(key))
            elif ok:
                told = list(value or ())
                if key in known:
                    tail = told if whole else told[len(told) - len(expected) :]
                    if tail != expected and number not in broken:
                        broken.add(number)
                        before = quoted(expected) if whole else f"[… {quoted(expected)[1:]}"
                        sentence = (
                            f"{{0}} read {quoted(key)} = {quoted(told)}, but by its own reads and "
                            f"appends it had to be {before}"
                        )
                        cases.add("internal", key, sentence, lists.ops[number])
                else:
                    first_read[key] = read
                known[key] = (True, told)
                seen.setdefault(key, []).append(told)
                read += 1
    return within


def phantoms(
    found: Versions, key: int, elements: list[Any], broken: set[int], cases: Cases
) -> None:
    """Elements that nobody wrote, unless they can be what the list held before it all began."""
    lists = found.lists
    name, reads = lists.names[key], found.reads[key]
    if _held_before(found, key, elements):
        return
    strange = set(elements)
    for read in reads:
        value = lists.read_value[read]
        element = next((e for e in value if e in strange), None)
        if element is not None and lists.reader[read] not in broken:
            sentence = (
                f"{{0}} read {quoted(name)} = {quoted(value)}, but nobody ever appended "
                f"{quoted(element)}"
            )
            cases.add("phantom-read", name, sentence, lists.ops[lists.reader[read]])


def _held_before(found: Versions, key: int, elements: list[Any]) -> bool:
    """Whether every read begins with them, and the first that was heard of the key is a read. Where
    any key was found empty, all were at first."""
    lists, count = found.lists, len(elements)
    values = (lists.read_value[read] for read in found.reads[key])
    if found.some_empty or any(value[:count] != elements for value in values):
        return False
    numbers = {lists.reader[read] for read in found.reads[key]}
    numbers |= {lists.writer[append] for append in lists.appends[key].values()}
    told = [op for op in map(lists.op, numbers) if op.outcome == "ok"]
    first = min(told, key=lambda op: op.index if op.end_index is None else op.end_index)
    return next(f for f, k, _ in micro_ops(first) if lists.keys[k] == key) in READS
