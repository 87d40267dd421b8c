"""How long checking takes: `python tests/benchmarks/bench_check.py`. Prints figures, asserts none.

Each history is that of a sound simulated register per key under 10 concurrent clients with 3 % of
the completions lost (`info`). Half of those ops took effect, some of them much later.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.check import available, converged, linearizable
from harness.history import MISMATCH, History, Record, RecordType

CASES = (
    # name, ops, keys, clients, info ops, written values, falsified reads
    ("unique values", 10_000, 5, 10, 300, 10**6, 0),
    ("unique values, stale read", 10_000, 5, 10, 300, 10**6, 1),
    ("unique values, one key", 10_000, 1, 10, 300, 10**6, 0),
    ("unique values, 10x", 100_000, 5, 10, 3000, 10**6, 0),
    ("5 values", 10_000, 5, 10, 300, 5, 0),
    ("5 values, stale reads", 10_000, 5, 10, 300, 5, 20),
    ("50 clients, unique values", 10_000, 5, 50, 300, 10**6, 0),
)


def main() -> None:
    print(f"{'history':28} {'ops':>7} {'linearizable':>13} {'result':>8} {'others':>9} {'rss':>8}")
    for name, ops, keys, clients, info, values, lies in CASES:
        history = simulated(ops, keys, clients, info, values, lies, seed=7)
        verdict = linearizable("cas-register")(history)
        began = time.perf_counter()
        available()(history)
        converged()(history)
        others_s = time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:28} {len(history):7} {verdict.seconds:11.3f} s {verdict.result:>8} "
            f"{others_s:7.3f} s {peak_mb:5.0f} MB"
        )
        if verdict.evidence:
            print(verdict.evidence)


def simulated(
    ops: int, keys: int, clients: int, info: int, values: int, lies: int, *, seed: int
) -> History:
    """Records of `clients` random clients, each with one op open at a time.

    An op takes effect at a random moment between its start and its end; a lost one after it, before
    it, or never.
    """
    stream = random.Random(seed)
    past: dict[str, list[Any]] = {f"k{number}": [None] for number in range(keys)}
    lose = set(stream.sample(range(ops), info))
    records: list[Record] = []
    idle, fresh, begun = list(range(clients)), clients, 0
    waiting: list[_Doing] = []
    answered: list[_Doing] = []
    lost: list[_Doing] = []

    def record(kind: RecordType, op: _Doing, value: Any, error: str | None = None) -> None:
        at, node = len(records), f"node-{op.process % 3 + 1}"
        records.append(
            Record(at, at * 1_000_000, op.process, kind, op.f, op.key, value, node, error)
        )

    while begun < ops or waiting or answered:
        if lost and stream.random() < 0.01:
            _take_effect(lost.pop(stream.randrange(len(lost))), past)
        choice = stream.random()
        if begun < ops and idle and choice < 0.4:
            key = f"k{stream.randrange(keys)}"
            f = stream.choices(("read", "write", "cas"), (5, 3, 2))[0]
            new = stream.randrange(values)
            expected = past[key][-1] if stream.random() < 0.5 else stream.randrange(values)
            value = {"read": None, "write": new, "cas": [expected, new]}[f]
            op = _Doing(begun, idle.pop(stream.randrange(len(idle))), f, key, value)
            record("invoke", op, value)
            waiting.append(op)
            begun += 1
        elif waiting and choice < 0.7:
            op = waiting.pop(stream.randrange(len(waiting)))
            if op.number in lose and stream.random() < 0.5:
                lost.append(op)
            else:
                _take_effect(op, past)
            answered.append(op)
        elif answered:
            op = answered.pop(stream.randrange(len(answered)))
            if op.number in lose:
                record("info", op, op.value, "timeout")
                idle.append(fresh)
                fresh += 1
                continue
            if lies and op.f == "read" and op.number > ops * 0.9:
                lies -= 1
                op.result = past[op.key][-20]
            record("fail" if op.error else "ok", op, op.result, op.error)
            idle.append(op.process)
    return History.of(records)


@dataclass
class _Doing:
    number: int
    process: int
    f: str
    key: str
    value: Any
    result: Any = None
    error: str | None = None


def _take_effect(op: _Doing, past: dict[str, list[Any]]) -> None:
    now = past[op.key][-1]
    op.result = now if op.f == "read" else op.value
    if op.f == "write":
        past[op.key].append(op.value)
    elif op.f == "cas" and now == op.value[0]:
        past[op.key].append(op.value[1])
    elif op.f == "cas":
        op.error = MISMATCH


if __name__ == "__main__":
    main()
