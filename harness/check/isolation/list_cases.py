"""What is wrong with transactions on lists before any order of them is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.check.budget import Budget
from harness.check.isolation.graph import Bools
from harness.check.isolation.list_versions import NOBODY, Versions
from harness.check.isolation.list_within import look_within, phantoms
from harness.check.isolation.transactions import Cases, quoted


def find_cases(found: Versions, budget: Budget) -> Cases:
    """All anomalies of single reads and transactions. O(micro-ops) on sound histories; where reads
    fit no order, O(their length) more."""
    cases = Cases()
    lists = found.lists
    within = look_within(lists, cases, budget)
    broken = within.broken
    intermediate = np.zeros(len(lists.writer) + 1, np.bool_)
    intermediate[[earlier for earlier, _ in within.pairs]] = True
    _failed_writes(found, cases, budget)
    _own_order(found, within.pairs, cases)
    _intermediate_reads(found, intermediate, cases)
    _odd_reads(found, intermediate, broken, cases, budget)
    _lost_updates(found, within.updates, cases)
    for key in found.twice:
        _repeated_elements(found, _longest_read(found, key), cases)
    for key, elements in found.unwritten.items():
        phantoms(found, key, elements, broken, cases)
    return cases


def _failed_writes(found: Versions, cases: Cases, budget: Budget) -> None:
    """Reads of appends that had no effect (G1a), and acknowledged appends on top (dirty update)."""
    lists, writer = found.lists, found.writer
    aborted = np.flatnonzero(writer < NOBODY)
    if not len(aborted):
        return
    keys = np.unique(np.searchsorted(found.first, aborted, "right") - 1)
    read_key = np.array(lists.read_key, np.int64)
    by_key = np.argsort(read_key, kind="stable")
    begins = np.searchsorted(read_key[by_key], keys, "left")
    ends = np.searchsorted(read_key[by_key], keys, "right")
    for key, begin, end in zip(keys.tolist(), begins.tolist(), ends.tolist(), strict=True):
        budget.demand()
        name = lists.names[key]
        start = int(found.first[key])
        row = writer[start : start + len(lists.longest[key]) + 1].tolist()
        at = next(place for place, owner in enumerate(row) if owner < NOBODY)
        failed = lists.op(row[at])
        element = lists.longest[key][at - 1]
        for read in by_key[begin:end].tolist():
            if found.version[read] >= start + at:
                _aborted_read(found, read, element, failed, cases)
        dirty = NOBODY
        for place, owner in enumerate(row):
            if owner < NOBODY:
                dirty = place
            elif owner >= 0 and lists.ops[owner].outcome == "ok":
                if dirty != NOBODY:
                    sentence = (
                        f"{{1}} appended {quoted(lists.longest[key][place - 1])} to {quoted(name)} "
                        f"on top of {quoted(lists.longest[key][dirty - 1])}, which {{0}} had "
                        "appended, and {0} failed"
                    )
                    cases.add(
                        "dirty-update", name, sentence, lists.op(row[dirty]), lists.ops[owner]
                    )
                dirty = NOBODY


def _aborted_read(found: Versions, read: int, element: Any, failed: Any, cases: Cases) -> None:
    lists = found.lists
    name = lists.names[lists.read_key[read]]
    sentence = (
        f"{{1}} read {quoted(name)} = {quoted(lists.read_value[read])}, but {quoted(element)} was "
        "appended by {0}, which failed"
    )
    cases.add("G1a", name, sentence, failed, lists.ops[lists.reader[read]])


def _own_order(found: Versions, pairs: list[tuple[int, int]], cases: Cases) -> None:
    """What a transaction appended one after the other must stand in that order."""
    if not pairs:
        return
    lists = found.lists
    place = np.full(len(lists.writer) + 1, len(found.appended), np.int64)
    place[found.appended] = np.arange(len(found.appended))
    array = np.array(pairs, np.int64)
    wrong = place[array[:, 0]] > place[array[:, 1]]
    for earlier, later in array[wrong].tolist():
        if lists.writer[earlier] >= 0:
            at = int(place[later])
            key = int(np.searchsorted(found.first, at, "right")) - 1
            name, value = lists.names[key], lists.longest[key]
            first = next(e for e, append in lists.appends[key].items() if append == earlier)
            last = value[at - int(found.first[key]) - 1]
            sentence = (
                f"{{0}} appended {quoted(first)} to {quoted(name)} before {quoted(last)}, but "
                f"{{1}} read {quoted(value)}"
            )
            reader = lists.ops[lists.reader[_longest_read(found, key)]]
            ops = (lists.ops[lists.writer[earlier]], reader)
            cases.add("incompatible-order", name, sentence, *ops)


def _intermediate_reads(found: Versions, intermediate: Bools, cases: Cases) -> None:
    """Reads that end within what another transaction appended (G1b)."""
    if not intermediate.any():
        return
    lists = found.lists
    reader = np.array(lists.reader, np.int64)
    version = found.version
    hit = intermediate[found.appended[version]] & (version >= 0)
    hit &= found.writer[version] != reader
    for read in np.flatnonzero(hit).tolist():
        _intermediate_read(found, read, int(found.writer[version[read]]), cases)


def _intermediate_read(found: Versions, read: int, writer: int, cases: Cases) -> None:
    lists = found.lists
    name = lists.names[lists.read_key[read]]
    value = lists.read_value[read]
    sentence = (
        f"{{1}} read {quoted(name)} = {quoted(value)}, but {{0}} appended more after "
        f"{quoted(value[-1])}"
    )
    cases.add("G1b", name, sentence, lists.op(writer), lists.ops[lists.reader[read]])


def _odd_reads(
    found: Versions, intermediate: Bools, broken: set[int], cases: Cases, budget: Budget
) -> None:
    """Reads that are no prefix of the longest one, element by element."""
    lists = found.lists
    for count, read in enumerate(found.odd.tolist()):
        if not count % 256:
            budget.demand()
        key, value = lists.read_key[read], lists.read_value[read]
        name, longest = lists.names[key], lists.longest[key]
        other = lists.reader[_longest_read(found, key)]
        sentence = (
            f"{{0}} read {quoted(name)} = {quoted(longest)} and {{1}} read {quoted(value)}; "
            "neither can have grown into the other"
        )
        reading = lists.ops[lists.reader[read]]
        cases.add("incompatible-order", name, sentence, lists.ops[other], reading)
        appends = lists.appends[key]
        for element in value:
            append = appends.get(element)
            if append is None and lists.reader[read] in broken:
                continue  # (told as `internal`)
            if append is None:
                sentence = f"{{0}} read {quoted(element)} in {quoted(name)}, which nobody appended"
                cases.add("phantom-read", name, sentence, reading)
            elif lists.writer[append] < 0:
                _aborted_read(found, read, element, lists.op(lists.writer[append]), cases)
        if len(set(value)) < len(value):
            _repeated_elements(found, read, cases)
        last = appends.get(value[-1])
        if last is not None and intermediate[last]:
            writer = lists.writer[last]
            if writer != lists.reader[read]:
                _intermediate_read(found, read, writer, cases)


def _repeated_elements(found: Versions, read: int, cases: Cases) -> None:
    lists = found.lists
    name, value = lists.names[lists.read_key[read]], lists.read_value[read]
    sentence = f"{{0}} read {quoted(name)} = {quoted(value)}, where an element stands twice"
    cases.add("duplicate-elements", name, sentence, lists.ops[lists.reader[read]])


def _lost_updates(found: Versions, updates: list[int], cases: Cases) -> None:
    """Two acknowledged transactions that read the same version and both wrote the key."""
    lists = found.lists
    met: dict[Any, int] = {}
    for read in updates:
        at: Any = int(found.version[read])
        if at < 0:
            at = (lists.read_key[read], tuple(lists.read_value[read]))
        other = met.setdefault(at, read)
        if other != read:
            name = lists.names[lists.read_key[read]]
            sentence = (
                f"{{0}} and {{1}} both read {quoted(name)} = {quoted(lists.read_value[read])} and "
                "both appended to it"
            )
            ops = (lists.ops[lists.reader[other]], lists.ops[lists.reader[read]])
            cases.add("lost-update", name, sentence, *ops)


def _longest_read(found: Versions, key: int) -> int:
    length = len(found.lists.longest[key])
    return next(read for read in found.reads[key] if len(found.lists.read_value[read]) == length)
