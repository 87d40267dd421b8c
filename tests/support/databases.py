"""Simulated databases: one for each isolation level, and some with a bug.

Transactions of a few processes are carried out micro-op by micro-op, in turns that a seed decides.
Every key is a list of what was written to it, in order; as a register it holds the last.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from harness.history import History, Op


@dataclass
class Txn:
    """A transaction at work."""

    op: Op
    done: list[list[Any]] = field(default_factory=list)
    own: dict[str, list[int]] = field(default_factory=dict)
    seen: int = 0
    """Commits in its snapshot."""
    site: int = 0


class Database:
    """Strict serializability: each transaction takes effect as a whole when it is committed."""

    late = True  # whether micro-ops are carried out when the transaction is committed

    def __init__(self, stream: random.Random) -> None:
        self.stream = stream
        self.log: list[dict[str, list[int]]] = []
        """The writes of each commit."""
        self.at_work: list[Txn] = []

    def begin(self, txn: Txn) -> None:
        self.at_work.append(txn)

    def read(self, txn: Txn, key: str) -> list[int]:
        return self.committed(key) + txn.own.get(key, [])

    def write(self, txn: Txn, key: str, value: int) -> bool:
        """Whether it may go on."""
        txn.own.setdefault(key, []).append(value)
        return True

    def commit(self, txn: Txn) -> bool:
        self.at_work.remove(txn)
        self.log.append(txn.own)
        return True

    def abort(self, txn: Txn) -> None:
        self.at_work.remove(txn)

    def committed(self, key: str, commits: int | None = None) -> list[int]:
        return [value for writes in self.log[:commits] for value in writes.get(key, ())]

    def lagging(self) -> int:
        """A number of commits that somebody who lags behind has heard of."""
        return max(0, len(self.log) - self.stream.randrange(6))


class StaleReads(Database):
    """Serializability, and no more: those that only read may be shown the past."""

    def read(self, txn: Txn, key: str) -> list[int]:
        if any(micro[0] != "r" for micro in txn.op.value):
            return super().read(txn, key)
        if not txn.done:
            txn.seen = self.shown(txn)
        return self.committed(key, txn.seen)

    def shown(self, txn: Txn) -> int:
        return self.lagging()


class SessionOrder(StaleReads):
    """Strong session serializability: the past that a process is shown holds what it has seen and
    done before."""

    def __init__(self, stream: random.Random) -> None:
        super().__init__(stream)
        self.heard: dict[int, int] = {}

    def shown(self, txn: Txn) -> int:
        return max(self.lagging(), self.heard.get(txn.op.process, 0))

    def commit(self, txn: Txn) -> bool:
        super().commit(txn)
        self.heard[txn.op.process] = len(self.log) if txn.own else txn.seen
        return True


class Snapshots(Database):
    """Strong snapshot isolation: a snapshot from the beginning on, and the first committer wins."""

    late = False

    def begin(self, txn: Txn) -> None:
        super().begin(txn)
        txn.seen = len(self.log)

    def read(self, txn: Txn, key: str) -> list[int]:
        return self.committed(key, txn.seen) + txn.own.get(key, [])

    def commit(self, txn: Txn) -> bool:
        if any(key in writes for writes in self.log[txn.seen :] for key in txn.own):
            self.abort(txn)
            return False
        return super().commit(txn)


class LateSnapshots(Snapshots):
    """Snapshot isolation, and no more: the snapshot may be an old one."""

    def begin(self, txn: Txn) -> None:
        super().begin(txn)
        txn.seen = self.lagging()


class Sites(Database):
    """Parallel snapshot isolation: each of two sites hears of the other's commits when it may, in
    causal order. Whoever does not know of every commit to a key cannot write it."""

    late = False

    def __init__(self, stream: random.Random) -> None:
        super().__init__(stream)
        self.known: list[list[int]] = [[], []]
        self.needs: list[set[int]] = []

    def begin(self, txn: Txn) -> None:
        super().begin(txn)
        txn.site = txn.op.process % 2
        if self.stream.random() < 0.2:
            for number, needs in enumerate(self.needs):
                known = self.known[txn.site]
                if number not in known and needs <= set(known) and self.stream.random() < 0.7:
                    known.append(number)
        txn.seen = len(self.known[txn.site])

    def visible(self, txn: Txn) -> list[int]:
        return sorted(self.known[txn.site][: txn.seen])

    def read(self, txn: Txn, key: str) -> list[int]:
        told = [value for n in self.visible(txn) for value in self.log[n].get(key, ())]
        return told + txn.own.get(key, [])

    def commit(self, txn: Txn) -> bool:
        seen = set(self.visible(txn))
        unseen = [writes for n, writes in enumerate(self.log) if n not in seen]
        if any(key in writes for writes in unseen for key in txn.own):
            self.abort(txn)
            return False
        self.known[txn.site].append(len(self.log))
        self.needs.append(seen)
        return super().commit(txn)


class Locks(Database):
    """Read committed: locks for writes only; every read sees what is committed by then."""

    late = False

    def write(self, txn: Txn, key: str, value: int) -> bool:
        if any(key in other.own for other in self.at_work if other is not txn):
            return False
        return super().write(txn, key, value)


class DirtyReads(Locks):
    """Read uncommitted: reads see what others write before it is committed, if it ever is."""

    def read(self, txn: Txn, key: str) -> list[int]:
        others = [t.own[key] for t in self.at_work if t is not txn and key in t.own]
        return super().read(txn, key) + [value for own in others for value in own]


class LostUpdates(Snapshots):
    """A bug: what is written is the snapshot with one's own writes, whoever committed meanwhile."""

    def __init__(self, stream: random.Random) -> None:
        super().__init__(stream)
        self.states: list[dict[str, list[int]]] = [{}]

    def committed(self, key: str, commits: int | None = None) -> list[int]:
        return self.states[len(self.log) if commits is None else commits].get(key, [])

    def commit(self, txn: Txn) -> bool:
        state = {key: self.read(txn, key) for key in txn.own}
        self.states.append({**self.states[-1], **state})
        return Database.commit(self, txn)


def simulate(
    kind: type[Database],
    seed: int,
    *,
    count: int = 200,
    registers: bool = False,
    processes: int = 6,
    keys: int = 4,
    per_key: int = 12,
    crashes: float = 0.03,
) -> History:
    """A history of `count` transactions over `keys` keys at a time, each of which is replaced by a
    new one after `per_key` writes; at the end, everything is read once more."""
    stream = random.Random(f"{kind.__name__} {seed} {registers}")
    database = kind(stream)
    names = [f"k{n}" for n in range(keys)]
    written: dict[str, int] = {}
    used = list(names)
    ops: list[Op] = []
    moment = 0
    idle, fresh = list(range(processes)), processes
    running: list[Txn] = []

    def micro() -> list[Any]:
        place = stream.randrange(keys)
        name = names[place]
        if stream.random() < 0.5:
            return ["r", name, None]
        value = written[name] = written.get(name, 0) + 1
        if value == per_key:
            names[place] = f"k{len(used)}"
            used.append(names[place])
        return ["w" if registers else "append", name, value]

    def invoke(process: int, micros: list[list[Any]]) -> Txn:
        op = Op(process, "txn", None, micros, "info", None, moment, None, moment, None)
        ops.append(op)
        txn = Txn(op)
        database.begin(txn)
        return txn

    def step(txn: Txn) -> bool:
        f, key, value = txn.op.value[len(txn.done)]
        if f == "r":
            told: Any = database.read(txn, key)
            if registers:
                told = told[-1] if told else None
            txn.done.append([f, key, told])
            return True
        if not database.write(txn, key, value):
            return False
        txn.done.append([f, key, value])
        return True

    def finish(txn: Txn) -> None:
        nonlocal fresh
        good = True
        while good and len(txn.done) < len(txn.op.value):
            good = step(txn)
        if good and stream.random() < 0.9:
            good = database.commit(txn)
        else:
            good = False
            database.abort(txn)
        if stream.random() < crashes:
            idle.append(fresh)
            fresh += 1
            return
        idle.append(txn.op.process)
        txn.op.outcome = "ok" if good else "fail"
        txn.op.result = txn.done if good else txn.op.value
        txn.op.end = txn.op.end_index = moment

    while len(ops) < count or running:
        moment += 1
        if len(ops) < count and idle and (not running or stream.random() < 0.3):
            process = idle.pop(stream.randrange(len(idle)))
            running.append(invoke(process, [micro() for _ in range(stream.randint(1, 4))]))
            continue
        txn = stream.choice(running)
        if not database.late and len(txn.done) < len(txn.op.value) and step(txn):
            continue
        running.remove(txn)
        finish(txn)
    for name in used:
        moment += 2
        last = invoke(fresh, [["r", name, None]])
        fresh += 1
        last.seen = len(database.log)
        moment += 1
        step(last)
        last.op.outcome, last.op.result = "ok", last.done
        last.op.end = last.op.end_index = moment
        database.abort(last)
    return History(ops)
