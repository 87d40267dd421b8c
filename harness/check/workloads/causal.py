"""Causal consistency of registers: no read ignores what it causally follows."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from harness import collector
from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.budget import TIMEOUT_S, Budget, OverBudgetError, limits
from harness.check.verdict import Verdict
from harness.check.workloads._causes import Causes, Node, causes
from harness.check.workloads._ops import at, missing, watched
from harness.history import History, Op, hashable
from harness.units import Duration


@dataclass(frozen=True)
class Causal:
    """The check that `causal` makes."""

    initial: Hashable
    timeout_s: float
    memory: int
    name: str = "causal"

    def __call__(self, history: History) -> Verdict:
        with collector.paused():
            return self._verdict(history)

    def _verdict(self, history: History) -> Verdict:
        began = time.monotonic()
        budget = Budget(self.timeout_s, self.memory)
        found = Findings(
            "never-written", "failed-write-read", "causal-cycle", "overwritten-read", "initial-read"
        )
        graph = Causes()
        unknown = None
        try:
            graph = causes(history, self.initial, budget)
            if graph.unclear is None:
                _sourceless(graph, found)
                _judge(graph, found, budget)
        except OverBudgetError as error:
            unknown = f"Undecided after {budget.told(error.limit)}."
        reads = len(graph.sourceless) + sum(node.is_read for node in graph.nodes)
        if graph.unclear is not None:
            value, key = graph.unclear
            unknown = (
                f"{brief(value)} was written twice{at(key)}: which write a read saw cannot be told."
            )
        elif not reads and unknown is None:
            unknown = missing("no read was answered (expected: read, write of unique values)")
        sessions = many(len(graph.sessions), "session")
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=f"{many(reads, 'read')} in {sessions}",
            unknown=unknown,
            data={"reads": reads, "sessions": len(graph.sessions)},
        )


def causal(
    *, initial: Any = None, timeout: Duration = TIMEOUT_S, memory: int | None = None
) -> Causal:
    """Check that the reads of registers are causally consistent.

    Ops: `write` (value: unique for its key) and `read` (also `read-init`) per key; a session is a
    process. An op causally follows what its process did before, the write that it read from, and
    whatever these follow. `initial` is what keys hold before any write; None, and 0 if nobody
    writes it, count as initial as well.

    Anomalies, the bad patterns of Bouajjani, Enea, Guerraoui, Hamza: "On Verifying Causal
    Consistency" (POPL 2017, section 5) for CC: `never-written` (ThinAirRead), also
    `failed-write-read`; `causal-cycle` (CyclicCO), a read from its own future; `overwritten-read`
    (WriteCORead), a read of a value that another write of the key, which the read follows, follows
    in turn; `initial-read` (WriteCOInitRead), a read of the initial value that follows a write of
    the key. Causal convergence and causal memory demand more than this. Jepsen's `tests/causal` is
    the case of one process per key.

    `unknown`: no read was answered, a value was written twice, or a limit was passed. O(n p log n)
    for p processes that write, and a number for each of these for each write in memory.

    Example: 1 writes x 1; 2 reads x 1 and writes y 1; 3 reads y 1 and then x None: `invalid`.
    """
    return Causal(hashable(initial), *limits(timeout, memory))


def _sourceless(graph: Causes, found: Findings) -> None:
    for key, op, failed in graph.sourceless:
        what = told_op(op, f"read {brief(op.result)}{at(key)}")
        if failed is None:
            found.add("never-written", f"{what}, which nobody ever wrote", op)
        else:
            found.add("failed-write-read", f"{what}, the write of which had failed", failed, op)


def _judge(graph: Causes, found: Findings, budget: Budget) -> None:
    import numpy as np

    writers = graph.writers
    now = {name: np.zeros(len(writers), dtype=np.int32) for name in graph.sessions}
    past: dict[int, Any] = {}  # of each write: how many writes of each writer it follows
    for node in watched(_in_causal_order(graph, budget), budget):
        clock = now[node.op.process]
        if not node.is_read:
            clock[writers[node.op.process]] = node.number
            past[node.place] = clock.copy()
            continue
        if node.source is not None:
            np.maximum(clock, past[node.source], out=clock)
        for process, (numbers, places) in graph.written[node.key].items():
            last = bisect_right(numbers, int(clock[writers[process]]))
            if not last or places[last - 1] == node.source:
                continue
            over = graph.nodes[places[last - 1]]
            if node.source is None:
                _initial_read(node, over, found)
                break
            source = graph.nodes[node.source]
            if past[over.place][writers[source.op.process]] >= source.number:
                _overwritten(node, source.op, over.op, found)
                break
    if not all(node.reached for node in graph.nodes):
        _cycle(graph, found)


def _initial_read(node: Node, over: Node, found: Findings) -> None:
    what = told_op(node.op, f"read the initial {brief(node.op.result)}{at(node.key)}")
    sentence = f"{what}, though it follows the write of {brief(over.op.value)}"
    found.add("initial-read", sentence, over.op, node.op)


def _overwritten(node: Node, source: Op, over: Op, found: Findings) -> None:
    what = told_op(node.op, f"read {brief(node.op.result)}{at(node.key)}")
    sentence = f"{what}, though it follows the write of {brief(over.value)}, which replaced that"
    found.add("overwritten-read", sentence, source, over, node.op)


def _in_causal_order(graph: Causes, budget: Budget) -> Iterator[Node]:
    """Each op after all that it follows; those on cycles, and what follows them, are left out."""
    waiting: list[int] = []
    effects: list[list[int]] = []
    for node in watched(graph.nodes, budget):
        waiting.append(len(node.causes))
        effects.append([])
    for node in watched(graph.nodes, budget):
        for cause in node.causes:
            effects[cause].append(node.place)
    ready = deque(node.place for node in graph.nodes if not node.causes)
    while ready:
        place = ready.popleft()
        graph.nodes[place].reached = True
        yield graph.nodes[place]
        for effect in effects[place]:
            waiting[effect] -= 1
            if not waiting[effect]:
                ready.append(effect)


def _cycle(graph: Causes, found: Findings) -> None:
    # Whatever was not reached follows something that was not reached: going back must come round.
    node = next(node for node in graph.nodes if not node.reached)
    walked: dict[int, None] = {}
    while node.place not in walked:
        walked[node.place] = None
        node = next(graph.nodes[one] for one in node.causes if not graph.nodes[one].reached)
    places = list(walked)
    cycle = [graph.nodes[place] for place in places[places.index(node.place) :]]
    reads = [one for one in cycle if one.is_read]
    what = told_op(reads[0].op, f"read {brief(reads[0].op.result)}{at(reads[0].key)}")
    sentence = f"{what}, a write that itself follows this read"
    found.add("causal-cycle", sentence, *(one.op for one in cycle))
