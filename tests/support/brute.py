"""An oracle for linearizability: tries every order of every choice of the ops that may be missing.

Written from the definition alone and sharing nothing with the search, so that both can be compared.
Each object is described once, as plainly as can be, and also simulated from that description.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.history import MISMATCH, History, Op, Record, RecordType

Answer = tuple[str, Any]
After = Callable[[Any, Op], list[Any]]


def has_legal_order(ops: Sequence[Op], initial: Any = None, *, mismatches: bool = True) -> bool:
    """Whether one register's ops have an order. Factorial in their number: for a handful."""
    tellers = [op for op in ops if op.outcome != "fail" or (mismatches and op.error == MISMATCH)]
    if initial is not None:
        tellers = [op for op in tellers if op.f != "read" or op.result is not None]
    return _go_on(tellers, initial, _register)


@dataclass(frozen=True)
class Described:
    """An object: what may be asked, which answers there are at all, and what may come of them.

    `after(state, op)` lists the states to which an op with this outcome can lead; an `info` op is
    asked for those that it leads to if it happens.
    """

    initial: Any
    asked: Sequence[tuple[str, Any]]
    answers: Callable[[str, Any], Sequence[Answer]]
    after: After

    def legal(self, ops: Sequence[Op]) -> bool:
        """Whether the ops have an order. Factorial in their number: for a handful."""
        tellers = [op for op in ops if op.outcome != "fail" or op.error == MISMATCH]
        return _go_on(tellers, self.initial, self.after)

    def simulated(self, stream: random.Random, count: int, lies: float, lost: float) -> History:
        """A sound object under concurrent clients, some of whose answers are then falsified.

        An op without an answer took effect at any moment after its start, or never.
        """
        records: list[Record] = []
        state = self.initial
        doing: dict[int, Op] = {}
        done: dict[int, tuple[Op, Answer]] = {}
        late: list[Op] = []
        idle, fresh, begun = list(range(3)), 3, 0
        while begun < count or doing or done:
            at, choice = len(records), stream.random()
            if late and choice < 0.1:
                state, _ = self._happen(stream, state, late.pop(stream.randrange(len(late))))
            elif idle and begun < count and choice < 0.5:
                process, begun = idle.pop(), begun + 1
                f, value = stream.choice(self.asked)
                doing[process] = Op(process, f, "x", value, "info", None, at, None, at, None)
                records.append(Record(at, at, process, "invoke", f, "x", value))
            elif doing and choice < 0.75:
                process = stream.choice(sorted(doing))
                op = doing.pop(process)
                if stream.random() < lost:
                    late.append(op)
                    done[process] = (op, ("info", None))
                else:
                    state, answer = self._happen(stream, state, op)
                    if stream.random() < lies:
                        answer = stream.choice(self.answers(op.f, op.value))
                    done[process] = (op, answer)
            elif done:
                process = stream.choice(sorted(done))
                op, (kind, result) = done.pop(process)
                said: RecordType = "ok" if kind == "ok" else "info" if kind == "info" else "fail"
                error = MISMATCH if said == "fail" else None
                records.append(Record(at, at, process, said, op.f, "x", result, error=error))
                idle.append(process if said != "info" else fresh)
                fresh += said == "info"
        return History.of(records)

    def _happen(self, stream: random.Random, state: Any, op: Op) -> tuple[Any, Answer]:
        possible = []
        for kind, result in self.answers(op.f, op.value):
            said: Any = "ok" if kind == "ok" else "fail"
            told = Op(op.process, op.f, "x", op.value, said, result, 0, 1, 0, 1)
            possible += [(after, (kind, result)) for after in self.after(state, told)]
        return stream.choice(possible) if possible else (state, ("info", None))


def _go_on(left: list[Op], state: Any, after: After) -> bool:
    if all(op.outcome == "info" for op in left):
        return True
    for chosen in left:
        if any(op.end_index is not None and op.end_index < chosen.index for op in left):
            continue  # something that had ended before it began must come first
        rest = [op for op in left if op is not chosen]
        if any(_go_on(rest, next_state, after) for next_state in after(state, chosen)):
            return True
    return False


def _register(state: Any, op: Op) -> list[Any]:
    if op.f == "read":
        return [state] if op.outcome == "info" or op.result == state else []
    if op.f == "write":
        return [op.value]
    expected, new = op.value
    if op.outcome == "fail":
        return [state] if state != expected else []
    return [new] if state == expected else []


def _multi_register(state: Any, op: Op) -> list[Any]:
    values = dict(state)
    for f, key, value in op.value if op.outcome == "info" else op.result:
        if f == "w":
            values[key] = value
        elif op.outcome == "ok" and values.get(key) != value:
            return []
    return [tuple(sorted(values.items()))]


def _mutex(state: Any, op: Op) -> list[Any]:
    fits = not state if op.f == "acquire" else state
    if op.outcome == "fail":
        return [] if fits else [state]
    return [op.f == "acquire"] if fits else []


def _owned_mutex(state: Any, op: Op) -> list[Any]:
    fits = state is None if op.f == "acquire" else state == op.process
    if op.outcome == "fail":
        return [] if fits else [state]
    return [op.process if op.f == "acquire" else None] if fits else []


def _fenced_mutex(state: Any, op: Op) -> list[Any]:
    holder, last = state
    held = _owned_mutex(holder, op)
    if not held or op.outcome == "fail" or op.f == "release" or op.outcome == "info":
        return [(holder, last) for holder in held]
    return [(held[0], op.result)] if op.result > last else []


def _set(state: Any, op: Op) -> list[Any]:
    if op.f == "read":
        return [state] if op.outcome == "info" or state == frozenset(op.result) else []
    if op.f == "contains":
        return [state] if op.outcome == "info" or (op.value in state) == op.result else []
    after = state | {op.value} if op.f == "add" else state - {op.value}
    return [after] if op.result is None or op.result == (after != state) else []


def _fifo(state: Any, op: Op) -> list[Any]:
    if op.f == "enqueue":
        return [(*state, op.value)]
    return _take(op, state, [0])


def _unordered(state: Any, op: Op) -> list[Any]:
    if op.f == "enqueue":
        return [(*state, op.value)]
    return _take(op, state, range(len(state)))


def _stack(state: Any, op: Op) -> list[Any]:
    if op.f == "push":
        return [(*state, op.value)]
    return _take(op, state, [len(state) - 1])


def _take(op: Op, state: Any, places: Sequence[int]) -> list[Any]:
    if not state:
        return [state] if op.outcome == "info" or op.result is None else []
    return [
        (*state[:place], *state[place + 1 :])
        for place in places
        if op.outcome == "info" or op.result == state[place]
    ]


def _counter(state: Any, op: Op) -> list[Any]:
    if op.f == "read":
        return [state] if op.outcome == "info" or op.result == state else []
    if op.f == "add":
        return [state + op.value]
    return [state + 1 if op.f == "inc" else state - 1]


def _kv(state: Any, op: Op) -> list[Any]:
    if op.f == "get":
        return [state] if op.outcome == "info" or (op.result or "") == state else []
    return [op.value] if op.f == "put" else [state + op.value]


def _said(*answers: Any) -> Callable[[str, Any], Sequence[Answer]]:
    return lambda f, value: [("ok", answer) for answer in answers]


def _locked(f: str, value: Any) -> Sequence[Answer]:
    return [("ok", None), ("refused", None)]


def _fenced(f: str, value: Any) -> Sequence[Answer]:
    if f == "release":
        return _locked(f, value)
    return [("refused", None), *(("ok", token) for token in (1, 2, 3, 5, 9))]


def _set_answers(f: str, value: Any) -> Sequence[Answer]:
    if f == "read":
        return [("ok", one) for one in ([], [1], [2], [2, 1])]
    return [("ok", True), ("ok", False)] + ([] if f == "contains" else [("ok", None)])


def _taken(f: str, value: Any) -> Sequence[Answer]:
    return [("ok", value)] if value else [("ok", one) for one in (None, 1, 2, 3, 4, 5)]


def _counted(f: str, value: Any) -> Sequence[Answer]:
    return [("ok", one) for one in range(-3, 9)] if f == "read" else [("ok", None)]


def _texts(f: str, value: Any) -> Sequence[Answer]:
    if f != "get":
        return [("ok", None)]
    return [("ok", one) for one in (None, "", "a", "b", "ab", "ba", "bb", "aa", "aab", "abb")]


def _read_txns(f: str, value: Any) -> Sequence[Answer]:
    choices = [[]]
    for mode, key, written in value:
        seen = (None, 1, 2) if mode == "r" else (written,)
        choices = [[*choice, [mode, key, one]] for choice in choices for one in seen]
    return [("ok", choice) for choice in choices]


_ELEMENTS = (1, 2, 3, 4, 5)
_TXNS = (
    [["r", "a", None]],
    [["w", "a", 1]],
    [["w", "a", 2], ["w", "b", 1]],
    [["r", "a", None], ["w", "b", 2]],
    [["w", "b", 1], ["r", "b", None], ["r", "c", None]],
    [["w", "c", 1], ["r", "a", None]],
)
_LOCK = [("acquire", None), ("release", None)]


def _queue(initial: Any, give: str, take: str, elements: Sequence[int], after: After) -> Described:
    asked = [(give, element) for element in elements] + [(take, None)] * len(elements)
    return Described(initial, asked, _taken, after)


OBJECTS = {
    "multi-register": Described((), [("txn", txn) for txn in _TXNS], _read_txns, _multi_register),
    "mutex": Described(False, _LOCK, _locked, _mutex),
    "owned-mutex": Described(None, _LOCK, _locked, _owned_mutex),
    "fenced-mutex": Described((None, 0), _LOCK, _fenced, _fenced_mutex),
    "set": Described(
        frozenset({2}),
        [(f, one) for f in ("add", "remove", "contains") for one in (1, 2)],
        _set_answers,
        _set,
    ),
    "set with reads of all": Described(
        frozenset(),
        [("read", None), ("read", None), *((f, one) for f in ("add", "remove") for one in (1, 2))],
        _set_answers,
        _set,
    ),
    "fifo-queue": _queue((), "enqueue", "dequeue", _ELEMENTS, _fifo),
    "fifo-queue of few": _queue((1,), "enqueue", "dequeue", (1, 2), _fifo),
    "unordered-queue": _queue((), "enqueue", "dequeue", _ELEMENTS, _unordered),
    "unordered-queue of few": _queue((1, 2), "enqueue", "dequeue", (1, 2), _unordered),
    "stack": _queue((), "push", "pop", _ELEMENTS, _stack),
    "stack of few": _queue((1, 2), "push", "pop", (1, 2), _stack),
    "counter": Described(
        0, [("add", 2), ("inc", None), ("dec", None), ("read", None)], _counted, _counter
    ),
    "kv": Described(
        "", [("put", "a"), ("append", "b"), ("append", "a"), ("get", None)], _texts, _kv
    ),
}
"""By the name of the model; words behind it tell apart what is tried with the same model."""
