"""Queues, stacks, sets and registers by definition, and simulated histories of them, good and bad.

`has_order` tries every order of a handful of ops, with no thought for speed; it shares nothing with
the monitors or the search. `simulated` runs a sound object under concurrent clients and then tells
lies about some answers.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from harness.check.models import Model
from harness.history import MISMATCH, Op

FOR_EVER = 10**9


def has_order(kind: str, ops: Sequence[Op], initial: Any) -> bool:
    """Whether some order of `ops` is legal and follows real time. Exponential in their number."""
    told = [op for op in ops if op.outcome != "fail" or op.error == MISMATCH]
    ends = [op.end_index if op.outcome != "info" else FOR_EVER for op in told]
    seen: set[tuple[int, Any]] = set()

    def go_on(done: int, state: Any) -> bool:
        left = [number for number in range(len(told)) if not done >> number & 1]
        if all(told[number].outcome == "info" for number in left):
            return True
        if (done, state) in seen:
            return False
        seen.add((done, state))
        soonest = min(ends[number] for number in left)
        return any(
            go_on(done | 1 << number, after)
            for number in left
            if told[number].index < soonest
            for after in _after(kind, state, told[number])
        )

    return go_on(0, initial)


def _after(kind: str, state: Any, op: Op) -> Iterable[Any]:
    """The states to which an op may lead: none if it cannot have had this outcome."""
    known = op.outcome != "info"
    if op.f == "read":
        return [state] if not known or op.result == state else []
    if op.f == "write":
        return [op.value]
    if op.f == "cas":
        if op.outcome == "fail":
            return [state] if state != op.value[0] else []
        return [op.value[1]] if state == op.value[0] else []
    if op.f in ("enqueue", "push"):
        return [(*state, op.value)]
    if op.f in ("dequeue", "pop"):
        if known and op.result is None:
            return [] if state else [state]
        places = range(len(state)) if kind == "unordered-queue" else range(len(state))[:1]
        if kind == "stack":
            places = range(len(state))[-1:]
        return [
            state[:place] + state[place + 1 :]
            for place in places
            if not known or state[place] == op.result
        ]
    there = op.value in state
    if op.f == "contains":
        return [state] if not known or op.result == there else []
    changes = there != (op.f == "add")
    if known and isinstance(op.result, bool) and op.result != changes:
        return []
    return [state | {op.value} if op.f == "add" else state - {op.value}]


KINDS = ("register", "cas-register", "fifo-queue", "unordered-queue", "stack", "set")


def beginning(kind: str, stream: random.Random) -> Any:
    """A state to begin with: nothing, mostly."""
    if kind.endswith("register"):
        return stream.choice([None, 0])
    elements = [-1, -2][: stream.choice([0, 0, 0, 1, 2])]
    return frozenset(elements) if kind == "set" else tuple(elements)


def simulated(
    kind: str,
    stream: random.Random,
    count: int,
    *,
    clients: int = 4,
    initial: Any = None,
    lost: float = 0.15,
    failed: float = 0.05,
    lies: float = 0.3,
    repeats: float = 0.0,
) -> list[Op]:
    """`count` ops of a sound object, where each answer is false with probability `lies`.

    An op without an answer takes effect at any moment after its start, or never. `repeats` is the
    probability that a value is one that was used before.
    """
    ops: list[Op] = []
    state, now, fresh, used = initial, 0, clients, [0]
    removed: list[int] = []
    idle = list(range(clients))
    doing: list[Op] = []
    done: list[Op] = []
    late: list[Op] = []

    def value() -> int:
        if stream.random() >= repeats or len(used) == 1:
            used.append(len(used))
            return used[-1]
        return stream.choice(used)

    def asked(f: str) -> Any:
        if f in ("read", "dequeue", "pop"):
            return None
        if f == "cas":
            known = state if stream.random() < 0.6 else stream.choice([*used, initial])
            return [known, value()]
        if f == "contains":
            return stream.choice(used[-3:])
        if f == "remove" and stream.random() >= repeats:
            once = [element for element in used[-3:] if element not in removed]
            removed.append(stream.choice(once) if once else value())
            return removed[-1]
        if f == "remove":
            return stream.choice(used)
        return value()

    def take_effect(op: Op) -> None:
        nonlocal state
        if op.outcome == "fail":
            return
        if op.f == "cas" and state != op.value[0]:
            op.outcome, op.error = "fail", MISMATCH
            return
        op.result = _answer(kind, state, op, stream)
        if op.result is not None and op.f in ("dequeue", "pop") and stream.random() < lies:
            op.result = stream.choice(state)  # the wrong one
            state = tuple(element for element in state if element != op.result)
            return
        probe = Op(0, op.f, None, op.value, "ok", op.result, 0, 0, 0, 0)
        state = next(iter(_after(kind, state, probe)))

    functions = {
        "register": ["read", "write"],
        "cas-register": ["read", "read", "write", "cas", "cas"],
        "stack": ["push", "pop"],
        "set": ["add", "remove", "contains"],
    }.get(kind, ["enqueue", "dequeue"])
    while len(ops) < count or doing or done:
        if late and stream.random() < 0.15:
            unknown = late.pop(stream.randrange(len(late)))
            if unknown.f != "cas" or state == unknown.value[0]:
                take_effect(unknown)
                unknown.result = None
        choice = stream.random()
        if idle and len(ops) < count and choice < 0.4:
            f = stream.choice(functions)
            process = idle.pop(stream.randrange(len(idle)))
            op = Op(process, f, "x", asked(f), "ok", None, now * 10**6, None, now, None)
            ops.append(op)
            doing.append(op)
            now += 1
        elif doing and choice < 0.7:
            op = doing.pop(stream.randrange(len(doing)))
            if stream.random() < lost:
                op.outcome = "info"
                late.append(op)
                idle.append(fresh)
                fresh += 1
                continue
            if stream.random() < failed:
                op.outcome = "fail"
            take_effect(op)
            done.append(op)
        elif done:
            op = done.pop(stream.randrange(len(done)))
            if stream.random() < lies:
                _lie(op, used, stream)
            op.end_index, op.end = now, now * 10**6
            now += 1
            idle.append(op.process)
    return ops


def _answer(kind: str, state: Any, op: Op, stream: random.Random) -> Any:
    if op.f == "read":
        return state
    if op.f in ("dequeue", "pop"):
        if not state:
            return None
        if kind == "stack":
            return state[-1]
        return stream.choice(state) if kind == "unordered-queue" else state[0]
    if op.f == "contains":
        return op.value in state
    if op.f in ("add", "remove") and stream.random() < 0.5:
        return (op.value in state) != (op.f == "add")
    return None


def _lie(op: Op, used: list[int], stream: random.Random) -> None:
    if op.f == "read" and op.outcome == "ok":
        op.result = stream.choice([*used[-3:], op.result])
    elif op.f in ("dequeue", "pop") and op.outcome == "ok":
        op.result = stream.choice([*used[-3:], None, op.result, op.result, op.result])
    elif op.f == "contains" or isinstance(op.result, bool):
        op.result = not op.result
    elif op.f == "cas":
        refused = op.outcome == "fail" and op.error == MISMATCH
        op.outcome, op.error = ("ok", None) if refused else ("fail", MISMATCH)


def shuffled(kind: str, stream: random.Random, count: int, *, initial: Any = None) -> list[Op]:
    """`count` ops whose answers come from somewhere, at random times: intricate, and mostly bad."""
    moments = list(range(2 * count))
    reach = stream.choice([2, 4, 8])
    ops: list[Op] = []
    for number, (f, value, result) in enumerate(_asked(kind, stream, count, initial)):
        start = moments.pop(stream.randrange(len(moments)))
        near = [at for at in moments if abs(at - start) <= reach] or moments
        other = near[stream.randrange(len(near))]
        moments.remove(other)
        start, end = sorted((start, other))
        op = Op(number, f, "x", value, "ok", result, start, end, start, end)
        if f == "cas" and stream.random() < 0.3:
            op.outcome, op.error = "fail", MISMATCH
        elif stream.random() < 0.1:
            op.outcome, op.result, op.end, op.end_index = "info", None, None, None
        ops.append(op)
    for put, take in pairwise(ops):
        if put.f in ("enqueue", "push", "add") and stream.random() < 0.9:
            _in_turn(put, take)
    return sorted(ops, key=lambda op: op.index)


def _in_turn(first: Op, second: Op) -> None:
    """Let two ops change places if the second one ended before the first began."""
    if None not in (first.end_index, second.end_index) and second.end_index < first.index:
        times = (first.index, first.end_index, first.start, first.end)
        first.index, first.end_index = second.index, second.end_index
        first.start, first.end = second.start, second.end
        second.index, second.end_index, second.start, second.end = times


def _asked(
    kind: str, stream: random.Random, count: int, initial: Any
) -> list[tuple[str, Any, Any]]:
    """What is asked and answered: each value is written, put or added once."""
    fresh = iter(range(1, count + 1))
    if kind.endswith("register"):
        known, asked = [initial], []
        for _ in range(count):
            f = stream.choice(
                ["write", "read", "read", "cas"] if "cas" in kind else ["write", "read"]
            )
            seen = stream.choice(known[-3:])
            value = None if f == "read" else next(fresh)
            asked.append((f, [seen, value] if f == "cas" else value, seen if f == "read" else None))
            if value is not None:
                known.append(value)
        return asked
    if kind == "set":
        asked = []
        for element in range(1, 1 + stream.choice([1, 2])):
            asked += [("add", element, stream.choice([None, True, False]))]
            asked += [("remove", element, stream.choice([None, True, False]))]
            asked += [
                ("contains", element, stream.random() < 0.5) for _ in range(stream.randrange(4))
            ]
        return stream.sample(asked, min(count, len(asked)))
    put, take = ("push", "pop") if kind == "stack" else ("enqueue", "dequeue")
    asked = [(take, None, None)] * stream.choice([0, 0, 1])
    asked += [(take, None, element) for element in initial if stream.random() < 0.8]
    while len(asked) < count - 1:
        value = next(fresh)
        asked += [(put, value, None), (take, None, value)]
    return asked[:count]


class Described(Model):
    """A model that says what object it is, and nothing else."""

    mismatches = True

    def __init__(self, name: str, initial: Any = None) -> None:
        self.name = name  # type: ignore[misc]
        self.initial = initial

    def step(self, state: Any, op: Op) -> Any:
        raise NotImplementedError


def with_refusals(ops: list[Op], stream: random.Random, count: int) -> list[Op]:
    """The same with some compare-and-sets that were refused, at random times, rightly or not."""
    scale = 10 * count
    last = max(op.index if op.end_index is None else op.end_index for op in ops)
    for op in ops:
        op.index *= scale
        op.end_index = None if op.end_index is None else op.end_index * scale
    values = [
        op.value if op.f == "write" else op.value[1] for op in ops if op.f in ("write", "cas")
    ]
    more = []
    for number in range(count):
        start = stream.randrange(last + 1)
        end = min(start + stream.choice([0, 1, 2, 4]), last)
        expected = stream.choice([None, *values])
        times = (start * scale + 2 * number + 1, (end + 1) * scale - 2 * number - 1)
        op = Op(99 + number, "cas", "x", [expected, -1 - number], "fail", None, *times, *times)
        op.error = MISMATCH
        more.append(op)
    return sorted([*ops, *more], key=lambda op: op.index)
