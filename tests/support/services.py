"""Small services that many clients use at once, each sound unless told to have its bug.

`drive` gives every op one moment between its start and its end at which it takes effect, so what a
sound service records is always legal; now and then the answer to an op is lost on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from harness.history import MISMATCH, History, Op

MS = 1_000_000


@dataclass(frozen=True)
class Call:
    """What a client asks: at most one at a time of a process."""

    f: str
    value: Any = None
    key: Any = None
    node: str | None = None


class Service(Protocol):
    def answer(self, call: Call, process: int, now: int) -> Any:
        """The effect at that moment (ns), and the answer. Raises `RefusedError` to refuse."""
        ...


class RefusedError(Exception):
    """The service refuses for the state it is in."""


def drive(
    service: Service,
    calls: Callable[[Random, int], Call],
    *,
    seed: int = 1,
    count: int = 150,
    clients: int = 4,
    lost: float = 0.03,
    final: Iterable[Call] = (),
    slowest_ms: int = 30,
    pause_ms: int = 20,
) -> History:
    """The history of `count` calls by that many clients, and the `final` ones after them."""
    rng = Random(seed)
    free = dict.fromkeys(range(clients), 0)
    ops: list[tuple[int, Op]] = []
    for number in range(count):
        process = min(free, key=lambda one: free[one])
        start = free.pop(process) + rng.randint(1, pause_ms * MS)
        end = start + rng.randint(1, slowest_ms * MS)
        call = calls(rng, number)
        gone = rng.random() < lost
        ops.append((rng.randint(start, end), _op(call, process, start, None if gone else end)))
        free[max([process, *free]) + 1 if gone else process] = end
    now = max(free.values())
    for call in final:
        now += MS
        ops.append((now, _op(call, 10_000, now, now + MS // 2)))
        ops[-1][1].final = True
    for moment, op in sorted(ops, key=lambda pair: pair[0]):
        call = Call(op.f, op.value, op.key, op.node)
        try:
            op.result = service.answer(call, op.process, moment)
            op.outcome = "ok"
        except RefusedError:
            op.outcome, op.error = "fail", MISMATCH
        if op.end is None:
            op.outcome, op.result, op.error = "info", None, "timeout"
    return numbered([op for _moment, op in ops])


def numbered(ops: Iterable[Op]) -> History:
    """A history of ops with times alone: gives their records the places that the times tell."""
    listed = list(ops)
    events = [(op.start, 1, op) for op in listed]
    events += [(op.end, 0, op) for op in listed if op.end is not None]
    for index, (_time, begins, op) in enumerate(sorted(events, key=lambda event: event[:2])):
        if begins:
            op.index = index
        else:
            op.end_index = index
    return History(sorted(listed, key=lambda op: op.index))


def _op(call: Call, process: int, start: int, end: int | None) -> Op:
    return Op(
        process=process,
        f=call.f,
        key=call.key,
        value=call.value,
        outcome="ok",
        result=None,
        start=start,
        end=end,
        index=0,
        end_index=None,
        node=call.node,
    )
