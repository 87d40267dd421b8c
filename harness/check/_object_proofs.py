"""Short proofs about queues, stacks, sets, locks and counters: the few ops that show why one cannot
have been answered so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.check._op_words import did, when, who
from harness.check._reason import Reason, end_index, ended
from harness.check.models import (
    Counter,
    FencedMutex,
    FifoQueue,
    Model,
    Mutex,
    Set,
    Stack,
    UnorderedQueue,
    added,
)
from harness.history import Op, hashable


def proof(model: Model, ops: Sequence[Op], blocked: Op) -> Reason | None:
    """Why `blocked` cannot have been answered like that, if a few ops suffice to show it.

    `ops` are all of the object, the failed ones too. O(n).
    """
    if blocked.outcome != "ok":
        return None
    others = [op for op in ops if op.index != blocked.index]
    told = f"{who(blocked)} {did(blocked)} {when(blocked)}"
    if isinstance(model, FifoQueue) and blocked.f == model.takes:
        return _queue(model, others, blocked, told)
    if isinstance(model, Set):
        return _set(model, others, blocked, told)
    if isinstance(model, Mutex) and blocked.f == "acquire":
        return _lock(model, others, blocked, told)
    if isinstance(model, Counter) and blocked.f == "read":
        return _counter(model, others, blocked, told)
    return None


_GIVEN = {"enqueue": "enqueued", "push": "pushed"}


def _queue(model: FifoQueue, ops: list[Op], blocked: Op, told: str) -> Reason | None:
    value = hashable(blocked.result)
    given = [op for op in ops if op.f == model.gives and op.outcome != "fail"]
    initially = [hashable(element) for element in model.initial or ()]
    given_word = _GIVEN[model.gives]
    if blocked.result is not None:
        sources = [op for op in given if hashable(op.value) == value]
        if value not in initially and not sources:
            return Reason("never-given", f"{told}, but nobody {given_word} it.", [blocked])
        if value not in initially and all(op.index > end_index(blocked) for op in sources):
            sentence = f"{told}, but {who(sources[0])} {did(sources[0])} only {when(sources[0])}."
            return Reason("taken-before-given", sentence, [blocked, sources[0]])
        takers = [op for op in ops if _took(model, op) and hashable(op.result) == value]
        if len(takers) >= len(sources) + initially.count(value):
            times = len(sources) + initially.count(value)
            often = "once" if times == 1 else f"{times} times"
            sentence = (
                f"{told}, but it was {given_word} only {often}, and {who(takers[0])} took it."
            )
            return Reason("duplicated", sentence, [*sources[:2], *takers[:2], blocked])
    else:
        sources = []
    begun = [op for op in ops if op.f == model.takes and op.index < end_index(blocked)]
    if any(op.outcome == "info" for op in begun):
        return None  # (it may have taken whatever is in the way)
    gone = {hashable(op.result) for op in begun if _took(model, op)}
    for op in given:
        element = hashable(op.value)
        if op.outcome != "ok" or element in gone or element == value:
            continue
        if blocked.result is None:
            if end_index(op) < blocked.index:
                sentence = (
                    f"{told}, but {op.value!r} had been {given_word}{ended(op)} and not taken."
                )
                return Reason("not-empty", sentence, [op, blocked])
        elif _in_the_way(model, op, sources, blocked, value in initially):
            place = "on top of it" if isinstance(model, Stack) else "before it"
            sentence = (
                f"{told}, but {op.value!r} had been {given_word} {place} and was still there."
            )
            return Reason("out-of-order", sentence, [*sources[:2], op, blocked])
    return None


def _took(model: FifoQueue, op: Op) -> bool:
    return op.f == model.takes and op.outcome == "ok" and op.result is not None


def _in_the_way(
    model: FifoQueue, other: Op, sources: Sequence[Op], blocked: Op, from_start: bool
) -> bool:
    """Whether `other` put an element in front of all that `sources` put there."""
    if isinstance(model, UnorderedQueue):
        return False
    if isinstance(model, Stack):
        below = [op for op in sources if op.index < end_index(blocked)]
        under = all(op.end_index is not None and op.end_index < other.index for op in below)
        return under and end_index(other) < blocked.index
    return not from_start and all(end_index(other) < op.index for op in sources)


def _set(model: Set, ops: list[Op], blocked: Op, told: str) -> Reason | None:
    initially = {hashable(element) for element in model.initial or ()}
    begun = [op for op in ops if op.outcome != "fail" and op.index < end_index(blocked)]
    adds: dict[Any, list[Op]] = {}
    removes: dict[Any, list[Op]] = {}
    for op in begun:
        if op.f in ("add", "remove"):
            ops_of = adds if op.f == "add" else removes
            ops_of.setdefault(hashable(op.value), []).append(op)
    there, missing = _seen(blocked, [*adds, *initially])
    for element in missing:
        if element in removes:
            continue
        if element in initially:
            sentence = (
                f"{told}, but {element!r} was there from the beginning, and nobody removed it."
            )
            return Reason("lost-element", sentence, [blocked])
        for op in adds.get(element, ()):
            if op.outcome == "ok" and end_index(op) < blocked.index:
                sentence = f"{told}, but {element!r} had been added{ended(op)} and not removed."
                return Reason("lost-element", sentence, [op, blocked])
    for element in there:
        givers = adds.get(element, [])
        if element in initially and not removes.get(element):
            continue
        if not givers and element not in initially:
            sentence = f"{told}, but nobody had added {element!r}."
            return Reason("never-added", sentence, [blocked])
        for op in removes.get(element, ()):
            after = all(e.end_index is not None and e.end_index < op.index for e in givers)
            if after and op.outcome == "ok" and end_index(op) < blocked.index:
                sentence = (
                    f"{told}, but {element!r} had been removed{ended(op)} and not added again."
                )
                return Reason("removed-element", sentence, [*givers[-1:], op, blocked])
    return None


def _seen(op: Op, elements: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The elements that an op saw in the set, and those that it saw were not there."""
    if op.f == "read":
        there = {hashable(element): None for element in op.result}
        return list(there), [element for element in dict.fromkeys(elements) if element not in there]
    if not isinstance(op.result, bool) or (isinstance(op.value, bool) and op.f != "contains"):
        return [], []
    one = [hashable(op.value)]
    return (one, []) if op.result != (op.f == "add") else ([], one)


def _lock(model: Mutex, ops: list[Op], blocked: Op, told: str) -> Reason | None:
    held = [op for op in ops if op.f == "acquire" and op.outcome == "ok"]
    held = [op for op in held if end_index(op) < blocked.index]
    token = _token(blocked)
    for op in held if isinstance(model, FencedMutex) and token is not None else ():
        if _token(op) is not None and token <= _token(op):
            given = f"{who(op)} had been given {_token(op)!r}{ended(op)}"
            sentence = f"{told} with the token {token!r}, but {given}."
            return Reason("token-not-greater", sentence, [op, blocked])
    for op in reversed(held):
        released = [
            other
            for other in ops
            if other.f == "release"
            and other.outcome != "fail"
            and other.index < end_index(blocked)
            and (other.end_index is None or other.end_index > op.index)
        ]
        if not released:
            sentence = f"{told}, but {who(op)} had acquired it{ended(op)}, and nobody released it."
            return Reason("held-twice", sentence, [op, blocked])
    return None


def _token(op: Op) -> Any:
    return op.value if op.result is None else op.result


def _counter(model: Counter, ops: list[Op], blocked: Op, told: str) -> Reason | None:
    least = most = model.initial
    for op in ops:
        if op.f == "read" or op.outcome == "fail" or op.index > end_index(blocked):
            continue
        sure = op.end_index is not None and op.end_index < blocked.index
        least += added(op) if sure or added(op) < 0 else 0
        most += added(op) if sure or added(op) > 0 else 0
    if least <= blocked.result <= most:
        return None
    bounds = f"{least!r}" if least == most else f"from {least!r} to {most!r}"
    sentence = f"{told}, but what was added before comes to {bounds}."
    before = [op for op in ops if op.f != "read" and op.index < end_index(blocked)]
    return Reason("out-of-bounds", sentence, [*before[-5:], blocked])
