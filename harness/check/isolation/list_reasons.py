"""Why one transaction on lists precedes another, in a sentence."""

from __future__ import annotations

from typing import Any

from harness.check.isolation.graph import Label
from harness.check.isolation.list_versions import Versions
from harness.check.isolation.lists import Lists
from harness.check.isolation.transactions import READS, micro_ops, quoted


def because(found: Versions, a: int, b: int, label: Label) -> tuple[str, Any]:
    """Why transaction a precedes b: what one of them wrote or read, and the key."""
    lists = found.lists
    for key, slot in _common(lists, a, b):
        order = lists.longest[slot]
        place = {element: at for at, element in reversed(list(enumerate(order)))}
        mine = [e for e, append in lists.appends[slot].items() if lists.writer[append] == a]
        theirs = [e for e, append in lists.appends[slot].items() if lists.writer[append] == b]
        if label is Label.WR:
            for value in _reads(lists, b, slot):
                if value and value[-1] in mine:
                    return (
                        f"{{1}} read {quoted(key)} = {quoted(value)}, "
                        f"where {{0}} had appended {quoted(value[-1])}",
                        key,
                    )
            continue
        for element in theirs:
            at = place.get(element, len(order))
            before = order[at - 1] if at else None
            if label is Label.WW and at and before in mine:
                return (
                    f"{{1}} appended {quoted(element)} to {quoted(key)} "
                    f"after {{0}} had appended {quoted(before)}",
                    key,
                )
            if label is Label.RW and order[:at] in _reads(lists, a, slot):
                return (
                    f"{{0}} read {quoted(key)} = {quoted(order[:at])} "
                    f"before {{1}} appended {quoted(element)}",
                    key,
                )
    raise AssertionError(f"no {label.name} from {a} to {b}")


def _common(lists: Lists, a: int, b: int) -> list[tuple[Any, int]]:
    keys = {micro[1] for micro in micro_ops(lists.ops[a])}
    return [(key, lists.keys[key]) for key in keys & {m[1] for m in micro_ops(lists.ops[b])}]


def _reads(lists: Lists, number: int, slot: int) -> list[list[Any]]:
    return [
        list(value or ())
        for f, key, value in micro_ops(lists.ops[number])
        if f in READS and lists.keys[key] == slot
    ]
