"""How well limits hold: `python tests/benchmarks/bench_limits.py [part of a name …]`.

A check that needs longer than its `timeout`, or more than its `memory`, says `unknown`; it must do
so within 10 % of the limit. Each history is long enough for that. Where a step that cannot be
interrupted would not end in time, a check gives up before it: then it is early, which is told, too.

Time is taken in one process. Memory is that of a fork, watched from outside every millisecond,
beyond what it had when the check began.
"""

from __future__ import annotations

import gc
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.check import linearizable
from harness.check.isolation import list_append, rw_register
from harness.check.models import INCONSISTENT
from harness.check.workloads import causal, long_fork
from harness.collector import paused
from harness.history import MISMATCH, History, Op

TIMEOUTS_S = (1, 3, 10)
MEMORY = (200 * 2**20, 2**30)
ALLOWED = 10  # per cent
CLIENTS = 10
WATCH_EVERY_S = 0.001
WAIT_S = 120


class Text:
    """A text that grows, without any of the shortcuts that named models have."""

    initial = ""

    def step(self, state: str, op: Op) -> Any:
        if op.f == "get":
            return state if state == op.result else INCONSISTENT
        return state + op.value


Told = tuple[Any, ...]  # f, value, outcome, result, error


def main() -> None:
    wanted = sys.argv[1:]
    head = "".join(f"{f'{timeout} s':>16}" for timeout in TIMEOUTS_S)
    head += "".join(f"{f'{limit >> 20} MiB':>16}" for limit in MEMORY)
    print("beyond the limit in %; (in time) where the check needs less; ! over 10 %")
    print(f"{'history':34} {'needs':>16}{head}")
    worst = 0.0
    for name, make, check in CASES:
        if wanted and not any(part in name for part in wanted):
            continue
        with paused():
            history = make()
        gc.collect()  # (or it would come in the midst of what is timed)
        print(f"{name:34} ", end="", flush=True)
        result, needs_s = _timed(check(timeout=4 * max(TIMEOUTS_S)), history)
        print(f"{f'{result} {needs_s:.1f} s':>16}", end="", flush=True)
        for timeout in TIMEOUTS_S:
            result, took_s = _timed(check(timeout=timeout), history)
            worst = max(worst, _show(result, 100 * (took_s / timeout - 1)))
        for memory in MEMORY:
            result, grew = _grown(check(timeout=WAIT_S, memory=memory), history)
            worst = max(worst, _show(result, 100 * (grew / memory - 1)))
        print(flush=True)
    print(f"the most beyond a limit: {worst:.1f} % (at most {ALLOWED} is demanded)")


def _show(result: str, beyond: float) -> float:
    if result != "unknown":
        print(f"{'(in time)':>16}", end="", flush=True)
        return 0.0
    print(f"{f'{beyond:+.1f} %' + ' !'[beyond > ALLOWED]:>16}", end="", flush=True)
    return beyond


def _timed(check: Callable[[History], Any], history: History) -> tuple[str, float]:
    began = time.perf_counter()
    verdict = check(history)
    return verdict.result, time.perf_counter() - began


def _grown(check: Callable[[History], Any], history: History) -> tuple[str, int]:
    """The result, and by how many bytes a fork of this process grew at most."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()

    def judge() -> None:
        theirs.send("ready")
        theirs.recv()
        theirs.send(check(history).result)

    beside = context.Process(target=judge)
    beside.start()
    try:
        watched = psutil.Process(beside.pid)
        mine.recv()
        before = peak = watched.memory_info().rss
        mine.send("go")
        until = time.monotonic() + 2 * WAIT_S
        while not mine.poll(WATCH_EVERY_S) and time.monotonic() < until:
            peak = max(peak, watched.memory_info().rss)
        return (mine.recv() if mine.poll() else "hung"), peak - before
    finally:
        beside.kill()
        beside.join()


def _at_once(told: Iterator[Told], count: int, keys: int = 1) -> History:
    """A history of `count` ops that took effect in this order, while as many clients as there are
    began together and ended together."""
    ops: list[Op] = []
    for number in range(count):
        f, value, outcome, result, error = next(told)
        client = number % CLIENTS
        begin = 2 * (number - client) + (client * 7) % CLIENTS
        end = 2 * (number - client) + CLIENTS + (client * 3) % CLIENTS
        key = f"k{client % keys}"
        ops.append(
            Op(client, f, key, value, outcome, result, begin * 1000, end * 1000, begin, end, None)
        )
        ops[-1].error = error
    ops.sort(key=lambda op: op.index)
    return History(ops)


def _register(compares: bool) -> Iterator[Told]:
    stream, held, number = random.Random(1), 0, 0
    yield "write", 0, "ok", 0, None
    while True:
        number += 1
        f = stream.choice(("read", "write", "cas") if compares else ("read", "write"))
        if f == "read":
            yield f, None, "ok", held, None
        elif f == "write":
            held = number
            yield f, held, "ok", held, None
        elif stream.random() < 0.5:
            yield f, [-number, number], "fail", None, MISMATCH
        else:
            yield f, [held, number], "ok", [held, number], None
            held = number


def _elements(put: str, take: str, last_first: bool) -> Iterator[Told]:
    """Puts and takes in turns of random length, of a queue or a stack."""
    stream = random.Random(1)
    inside: list[int] = []
    number = taken = 0
    while True:
        if stream.random() < 0.52:
            number += 1
            inside.append(number)
            yield put, number, "ok", number, None
        elif last_first and inside:
            yield take, None, "ok", inside.pop(), None
        elif not last_first and taken < len(inside):
            taken += 1
            yield take, None, "ok", inside[taken - 1], None


def _set() -> Iterator[Told]:
    stream, number = random.Random(1), 0
    while True:
        number += 1
        yield "add", number, "ok", number, None
        other = stream.randrange(1, number + 1)
        yield "contains", other, "ok", True, None


def _lists(torn: float) -> Iterator[Told]:
    """Transactions of reads and appends; of `torn` of them, a read misses the last element."""
    stream = random.Random(1)
    held: dict[int, list[int]] = {key: [] for key in range(10)}
    live, keys = list(held), len(held)
    while True:
        micros: list[Any] = []
        for _ in range(stream.randint(1, 4)):
            place = min(int(stream.expovariate(0.5)), len(live) - 1)
            key = live[place]
            if stream.random() < 0.5:
                seen = list(held[key])
                micros.append(["r", key, seen[:-1] if stream.random() < torn else seen])
                continue
            held[key].append(len(held[key]) + 1)
            micros.append(["append", key, held[key][-1]])
            if len(held[key]) == 100:
                live[place], held[keys] = keys, []
                del held[key]
                keys += 1
        asked = [[f, key, None if f == "r" else value] for f, key, value in micros]
        yield "txn", asked, "ok", micros, None


def _registers() -> Iterator[Told]:
    stream = random.Random(1)
    held: dict[int, int | None] = dict.fromkeys(range(10))
    keys = number = 0
    while True:
        micros: list[Any] = []
        for _ in range(stream.randint(1, 4)):
            key = stream.choice(list(held))
            if stream.random() < 0.5:
                micros.append(["r", key, held[key]])
                continue
            number += 1
            held[key] = number
            micros.append(["w", key, number])
        if stream.random() < 0.1:
            keys += 1
            del held[min(held)]
            held[keys + 10] = None
        asked = [[f, key, None if f == "r" else value] for f, key, value in micros]
        yield "txn", asked, "ok", micros, None


def _forks() -> Iterator[Told]:
    number = 0
    while True:
        first = number - number % 10
        seen = [["r", key, 1 if key < number else None] for key in range(first, first + 10)]
        yield "read", [[f, key, None] for f, key, _ in seen], "ok", seen, None
        yield "write", [["w", number, 1]], "ok", [["w", number, 1]], None
        number += 1


def _puzzle() -> History:
    """Appends in any order, of which no order explains the last read."""
    texts = [chr(97 + number) for number in range(26)]
    ops = [
        Op(number, "append", "x", text, "ok", text, number, 30 + number, number, 30 + number)
        for number, text in enumerate(texts)
    ]
    return History([*ops, Op(0, "get", "x", None, "ok", "?", 60, 61, 60, 61)])


def _linearizable(model: Any) -> Callable[..., Any]:
    return lambda **limits: linearizable(model, **limits)


MILLION = 1_000_000

CASES: tuple[tuple[str, Callable[[], History], Callable[..., Any]], ...] = (
    ("search that blows up", _puzzle, _linearizable(Text)),
    (
        "ambiguous queue",
        lambda: _at_once(
            (
                (f, v and v % 50, o, r % 50, e)
                for f, v, o, r, e in _elements("enqueue", "dequeue", False)
            ),
            200_000,
        ),
        _linearizable("fifo-queue"),
    ),
    ("register", lambda: _at_once(_register(False), MILLION), _linearizable("register")),
    ("cas-register", lambda: _at_once(_register(True), MILLION), _linearizable("cas-register")),
    (
        "fifo-queue",
        lambda: _at_once(_elements("enqueue", "dequeue", False), MILLION),
        _linearizable("fifo-queue"),
    ),
    (
        "stack",
        lambda: _at_once(_elements("push", "pop", True), MILLION),
        _linearizable("stack"),
    ),
    ("set", lambda: _at_once(_set(), MILLION), _linearizable("set")),
    ("list-append", lambda: _at_once(_lists(0), 400_000), list_append),
    ("list-append 1M", lambda: _at_once(_lists(0), MILLION), list_append),
    (
        "list-append, knotted, serializable",
        lambda: _at_once(_lists(0.01), 400_000),
        lambda **limits: list_append("read-uncommitted", anomalies=["G2"], **limits),
    ),
    (
        "rw-register",
        lambda: _at_once(_registers(), 400_000),
        lambda **limits: rw_register(linearizable_keys=True, wfr_keys=True, **limits),
    ),
    ("causal", lambda: _at_once(_register(False), MILLION), causal),
    ("long-fork", lambda: _at_once(_forks(), 400_000), long_fork),
)


if __name__ == "__main__":
    main()
