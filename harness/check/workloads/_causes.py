"""What each op causally follows: the op before it in its process, and the write it read from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field

from harness.check.budget import Budget
from harness.check.workloads._ops import READS, WRITES, by_key, watched
from harness.history import History, Op, hashable

_READS = (*READS, "read-init")


@dataclass(slots=True)
class Node:
    """A read that was answered, or a write that may have happened.

    `number` counts the writes of its process up to here. `source` is the place of the write that a
    read saw, None for the initial value.
    """

    place: int
    op: Op
    key: Hashable
    is_read: bool
    number: int = 0
    source: int | None = None
    causes: list[int] = field(default_factory=list)
    reached: bool = False


@dataclass
class Causes:
    """`writers` numbers the processes that write. `written` has, for each key and process, the
    numbers of its writes there and their places. `sourceless` are reads of values that nobody
    wrote, with the failed write if there is one; `unclear` is a value that was written twice."""

    nodes: list[Node] = field(default_factory=list)
    sessions: set[int] = field(default_factory=set)
    writers: dict[int, int] = field(default_factory=dict)
    written: dict[Hashable, dict[int, tuple[list[int], list[int]]]] = field(default_factory=dict)
    sourceless: list[tuple[Hashable, Op, Op | None]] = field(default_factory=list)
    unclear: tuple[Hashable, Hashable] | None = None


def causes(history: History, initial: Hashable, budget: Budget) -> Causes:
    """The graph of a history. O(n). Raises `OverBudgetError`."""
    graph = Causes()
    makers: dict[tuple[Hashable, Hashable], int] = {}
    failed: dict[tuple[Hashable, Hashable], Op] = {}
    known = [op for op in watched(history.ops, budget) if op.f in _READS or op.f in WRITES]
    placed = []
    for key, ops in by_key(known).items():
        placed += [(op, key) for op in watched(ops, budget)]
    placed.sort(key=lambda pair: pair[0].index)
    for op, key in watched(placed, budget):
        if op.f in _READS or op.outcome == "fail":
            if op.f in WRITES:
                failed[key, hashable(op.value)] = op
            continue
        value = hashable(op.value)
        if (key, value) in makers:
            graph.unclear = graph.unclear or (value, key)
        makers[key, value] = op.index
        graph.writers.setdefault(op.process, len(graph.writers))
    _fill(graph, placed, makers, failed, initial, budget)
    return graph


def _fill(
    graph: Causes,
    placed: list[tuple[Op, Hashable]],
    makers: dict[tuple[Hashable, Hashable], int],
    failed: dict[tuple[Hashable, Hashable], Op],
    initial: Hashable,
    budget: Budget,
) -> None:
    at: dict[int, int] = {}  # the places of ops by their index
    before: dict[int, int] = {}
    numbers: dict[int, int] = defaultdict(int)
    for op, key in watched(placed, budget):
        is_read = op.f in _READS
        if op.outcome == "fail" or (is_read and op.outcome != "ok"):
            continue
        node = Node(len(graph.nodes), op, key, is_read)
        if is_read:
            value = hashable(op.result)
            maker = makers.get((key, value))
            if maker is None and value != initial and value is not None and value != 0:
                graph.sourceless.append((key, op, failed.get((key, value))))
                continue
            node.source = maker
        else:
            numbers[op.process] += 1
            lines = graph.written.setdefault(key, {}).setdefault(op.process, ([], []))
            lines[0].append(numbers[op.process])
            lines[1].append(node.place)
        node.number = numbers[op.process]
        graph.written.setdefault(key, {})
        graph.sessions.add(op.process)
        if op.process in before:
            node.causes.append(before[op.process])
        before[op.process] = at[op.index] = node.place
        graph.nodes.append(node)
    for node in watched(graph.nodes, budget):
        if node.is_read and node.source is not None:
            node.source = at[node.source]
            if node.source not in node.causes:
                node.causes.append(node.source)
