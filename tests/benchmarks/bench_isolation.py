"""Isolation of transactions: seconds to judge histories of a database in memory, and peak memory.

Lists of about 100 elements on ten keys at a time, three micro-ops a transaction on average, twenty
clients, 2 % failed and 0.5 % without an answer. 5 s for 100 000 transactions and 60 s for a million
are what is allowed.
"""

from __future__ import annotations

import random
import resource
import time

from harness.check import list_append, rw_register
from harness.history import History, Op

CLIENTS, KEYS, PER_KEY = 20, 10, 100
ALLOWED_S = {100_000: 5, 1_000_000: 60}


def main() -> None:
    print(f"{'history':36} {'txns':>8} {'seconds':>8} {'allowed':>8} {'result':>8} {'peak':>8}")
    for count in (10_000, 100_000, 1_000_000):
        history = lists(count)
        _line("list-append", list_append(timeout=600), history)
        _forget(history, every=1000)
        _line("list-append, 1 in 1000 reads stale", list_append(timeout=600), history)
        del history
    for count in (10_000, 100_000):
        history = lists(count, registers=True)
        _line("rw-register", rw_register(timeout=600), history)
        assumed = rw_register("serializable", wfr_keys=True, sequential_keys=True, timeout=600)
        _line("rw-register, sequential keys", assumed, history)


def _line(name: str, check: object, history: History) -> None:
    began = time.perf_counter()
    verdict = check(history)  # type: ignore[operator]
    took_s = time.perf_counter() - began
    known = name.startswith("list-append") and len(history) in ALLOWED_S
    allowed = f"{ALLOWED_S[len(history)]} s" if known else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:36} {len(history):8} {took_s:6.2f} s {allowed:>8} {verdict.result:>8} "
        f"{peak:5.0f} MB",
        flush=True,
    )


def lists(count: int, *, registers: bool = False, seed: int = 1) -> History:
    """What a strict serializable database in memory answers. With `registers`, writes replace."""
    stream = random.Random(seed)
    held: dict[int, list[int]] = {}
    keys, fresh = list(range(KEYS)), KEYS
    written: dict[int, int] = {}
    ops: list[Op] = []
    at_work: list[Op] = []
    done: list[tuple[Op, list[list[object]] | None]] = []
    idle, process, place = list(range(CLIENTS)), CLIENTS, 0
    while len(ops) < count or at_work or done:
        choice = stream.random()
        if len(ops) < count and idle and choice < 0.4:
            micros: list[list[object]] = []
            for _ in range(stream.randint(1, 5)):
                slot = stream.randrange(KEYS)
                key = keys[slot]
                if stream.random() < 0.5:
                    micros.append(["r", key, None])
                    continue
                written[key] = written.get(key, 0) + 1
                micros.append(["w" if registers else "append", key, written[key]])
                if written[key] == PER_KEY:
                    keys[slot], fresh = fresh, fresh + 1
            op = Op(idle.pop(), "txn", None, micros, "info", None, place, None, place, None)
            ops.append(op)
            at_work.append(op)
            place += 1
        elif at_work and choice < 0.7:
            op = at_work.pop(stream.randrange(len(at_work)))
            failed = stream.random() < 0.02
            done.append((op, None if failed else _carried_out(op.value, held, registers)))
        elif done:
            op, result = done.pop(stream.randrange(len(done)))
            if result is not None and stream.random() < 0.005:
                idle.append(process)
                process += 1
            else:
                op.outcome = "fail" if result is None else "ok"
                op.result = op.value if result is None else result
                op.end = op.end_index = place
                idle.append(op.process)
            place += 1
    return History(ops)


def _carried_out(
    micros: list[list[object]], held: dict[int, list[int]], registers: bool
) -> list[list[object]]:
    told: list[list[object]] = []
    for f, key, value in micros:
        now = held.setdefault(key, [])  # type: ignore[arg-type]
        if f != "r":
            now.append(value)  # type: ignore[arg-type]
        elif registers:
            value = now[-1] if now else None
        else:
            value = list(now)
        told.append([f, key, value])
    return told


def _forget(history: History, *, every: int) -> None:
    """Let reads of lists miss what was appended last."""
    reads = [
        micro
        for op in history.ops
        if op.outcome == "ok"
        for micro in op.result
        if micro[0] == "r" and len(micro[2]) > 30
    ]
    for micro in reads[::every]:
        micro[2] = micro[2][:-20]


if __name__ == "__main__":
    main()
