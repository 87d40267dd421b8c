"""Cycles of every kind are found where listing all cycles finds them, and nowhere else."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from harness.check.budget import Budget
from harness.check.isolation.anomalies import CYCLES, implying
from harness.check.isolation.cycles import search, tangles
from harness.check.isolation.graph import Builder, Edges, Label, in_cycles
from harness.check.isolation.models import ruled_out
from harness.check.isolation.orders import add_given_order, add_realtime_order
from harness.check.isolation.reach import reached
from harness.check.isolation.witness import shortest_cycle
from harness.history import Op

Triple = tuple[int, int, Label]


def budget() -> Budget:
    return Budget(30.0, 2**32)


def edges_of(triples: list[Triple]) -> Edges:
    array = np.array(triples, np.int64).reshape(-1, 3)
    return Edges(array[:, 0], array[:, 1], array[:, 2])


@pytest.mark.parametrize("variant", ["", "-process"])
def test_random_graphs_show_what_listing_their_cycles_shows(variant: str) -> None:
    stream = random.Random(f"cycles {variant}")
    labels = [Label.WW, Label.WR, Label.RW, Label.RW] + ([Label.ORDER] if variant else [])
    met: Counter[str] = Counter()
    for _ in range(600):
        nodes = stream.randint(2, 6)
        pairs = [
            (stream.randrange(nodes), stream.randrange(nodes)) for _ in range(stream.randint(1, 6))
        ]
        if stream.random() < 0.6:
            around = stream.sample(range(nodes), nodes)
            pairs = [*pairs[:2], *zip(around, [*around[1:], around[0]], strict=True)]
        triples = [
            (a, b, label)
            for a, b in pairs
            # (Order edges only lead onwards, as time does.)
            if a != b and ((label := stream.choice(labels)) != Label.ORDER or a < b)
        ]
        tangled = tangles(edges_of(triples), nodes, budget())
        search(tangled, variant, (), budget())
        expected = _listed(_explained(triples), nodes, variant)
        found = set(tangled.found)
        if any(kind.startswith(("G0", "G1c")) for kind in expected):
            # (Then a way round without adjacent rw may pass a transaction twice.)
            rest = {"G-nonadjacent-item", "G2-item"}
            rest |= {kind + variant for kind in rest}
            assert found - rest == expected - rest, triples
            assert bool(found & rest) == bool(expected & rest)
        else:
            assert found == expected, triples
        met.update(expected & found)
        for kind in expected & found:
            _assert_shown(shortest_cycle(tangled, kind, nodes), kind, triples)
    kinds = set(CYCLES) | {kind + variant for kind in CYCLES}
    assert set(met) == kinds
    assert min(met.values()) >= 3, met


def _explained(triples: list[Triple]) -> list[Triple]:
    """Of the data between two nodes, the reason that says most."""
    best: dict[tuple[int, int], Label] = {}
    for a, b, label in triples:
        if label != Label.ORDER:
            best[a, b] = min(best.get((a, b), label), label)
    orders = {triple for triple in triples if triple[2] == Label.ORDER}
    return [(a, b, label) for (a, b), label in best.items()] + sorted(orders)


def _listed(triples: list[Triple], nodes: int, variant: str) -> set[str]:
    """What is to be reported, by listing all simple cycles of each component."""
    component = _components(triples, nodes)
    cycles: dict[int, set[str]] = {}
    for cycle in _simple_cycles(triples):
        for kind in _kinds(cycle):
            cycles.setdefault(component[cycle[0][0]], set()).add(kind)
    reported: set[str] = set()
    for kinds in cycles.values():
        shown: set[str] = set()
        for suffix in ("", variant) if variant else ("",):
            for kind in (name + suffix for name in CYCLES):
                graver = implying([kind]) & shown
                settled = suffix and ruled_out([kind]) <= ruled_out(shown)
                if kind in kinds and not graver and not settled:
                    shown.add(kind)
        reported |= shown
    return reported


def _kinds(cycle: list[Triple]) -> Iterator[str]:
    labels = [label for _, _, label in cycle]
    suffix = "-process" if Label.ORDER in labels else ""
    rw = [label == Label.RW for label in labels]
    if sum(rw) == 0 and Label.WR in labels:
        yield "G1c" + suffix
    elif sum(rw) == 0 and Label.WW in labels:
        yield "G0" + suffix
    elif sum(rw) == 1:
        yield "G-single-item" + suffix
    elif not any(a and b for a, b in zip(rw, [*rw[1:], rw[0]], strict=True)):
        yield "G-nonadjacent-item" + suffix
    else:
        yield "G2-item" + suffix


def _simple_cycles(triples: list[Triple]) -> Iterator[list[Triple]]:
    leads: dict[int, list[Triple]] = {}
    for triple in triples:
        leads.setdefault(triple[0], []).append(triple)

    def extend(path: list[Triple]) -> Iterator[list[Triple]]:
        first, last = path[0][0], path[-1][1]
        if last == first:
            yield path
            return
        if last < first or any(last == a for a, _, _ in path):
            return
        for triple in leads.get(last, []):
            yield from extend([*path, triple])

    for triple in triples:
        yield from extend([triple])


def _components(triples: list[Triple], nodes: int) -> list[int]:
    reach = [[a == b for b in range(nodes)] for a in range(nodes)]
    for a, b, _ in triples:
        reach[a][b] = True
    for k in range(nodes):
        for a in range(nodes):
            for b in range(nodes):
                reach[a][b] |= reach[a][k] and reach[k][b]
    return [min(b for b in range(nodes) if reach[a][b] and reach[b][a]) for a in range(nodes)]


def _assert_shown(cycle: list[Triple], kind: str, triples: list[Triple]) -> None:
    assert [b for _, b, _ in cycle] == [a for a, _, _ in cycle[1:]] + [cycle[0][0]]
    assert set(cycle) <= set(triples)
    assert kind in set(_kinds(cycle))
    same = [other for other in _simple_cycles(_explained(triples)) if kind in set(_kinds(other))]
    assert len(cycle) == min(map(len, same))


def test_steps_between_transactions_do_not_count() -> None:
    hub = [(1, 3, Label.WW), (3, 4, Label.HUB), (4, 5, Label.HUB), (5, 0, Label.HUB)]
    through = [(1, 2, Label.WR), (2, 0, Label.WR)]
    tangled = tangles(edges_of([(0, 1, Label.RW), *through, *hub]), 6, budget())
    search(tangled, "", (), budget())
    assert shortest_cycle(tangled, "G-single-item", 3) == [(0, 1, Label.RW), (1, 0, Label.WW)]


def test_edges_by_way_of_a_node_between_are_still_next_to_each_other() -> None:
    there, back = [(0, 2, Label.RW), (2, 1, Label.HUB)], [(1, 3, Label.RW), (3, 0, Label.HUB)]
    tangled = tangles(edges_of([*there, *back]), 4, budget())
    search(tangled, "", (), budget())
    assert set(tangled.found) == {"G2-item"}


def test_pairs_are_joined_as_a_closure_says() -> None:
    stream = random.Random("reach")
    answers: Counter[bool] = Counter()
    for _ in range(150):
        nodes = stream.randint(2, 12)
        pairs = [
            (stream.randrange(nodes), stream.randrange(nodes)) for _ in range(stream.randint(1, 20))
        ]
        triples = [(a, b, Label.WW) for a, b in pairs if a != b]
        reach = [[a == b for b in range(nodes)] for a in range(nodes)]
        for a, b, _ in triples:
            reach[a][b] = True
        for k in range(nodes):
            for a in range(nodes):
                for b in range(nodes):
                    reach[a][b] |= reach[a][k] and reach[k][b]
        start = np.array([stream.randrange(nodes) for _ in range(30)], np.int64)
        goal = np.array([stream.randrange(nodes) for _ in range(30)], np.int64)
        joined = set(reached(edges_of(triples), nodes, start, goal, budget()))
        assert joined == {n for n in range(30) if reach[start[n]][goal[n]]}
        answers.update(n in joined for n in range(30))
    assert min(answers.values()) > 500


def test_more_pairs_than_share_a_sweep() -> None:
    nodes = 3000
    chain = [(a, a + 1, Label.WW) for a in range(nodes - 1) if a != 1500]
    start = np.arange(nodes - 10, dtype=np.int64)
    joined = set(reached(edges_of(chain), nodes, start, start + 10, budget()))
    assert joined == {n for n in range(nodes - 10) if not n <= 1500 < n + 10}


@pytest.mark.parametrize("count", [2, 12, 30])
def test_a_fan_joins_all_sources_with_all_other_targets(count: int) -> None:
    targets = list(range(count, 2 * count))
    for target in targets:
        # One target is a source as well: it must not lead to itself.
        sources = [*range(count), target]
        builder = Builder(2 * count)
        builder.fan(sources, targets, Label.RW)
        edges = builder.edges()
        assert len(edges) <= 8 * count
        assert not in_cycles(edges, builder.nodes).any()
        start = np.repeat(np.array(sources), 2 * count)
        goal = np.tile(np.arange(2 * count), len(sources))
        joined = set(reached(edges, builder.nodes, start, goal, budget()))
        for pair, (a, b) in enumerate(zip(start.tolist(), goal.tolist(), strict=True)):
            assert (pair in joined) == (a == b or b in targets), (a, b)


def test_real_time_joins_what_ended_with_what_began_after_it() -> None:
    stream = random.Random("time")
    for _ in range(100):
        moments = list(range(24))
        stream.shuffle(moments)
        ops = []
        for place in range(12):
            begin, end = sorted(moments[2 * place : 2 * place + 2])
            known = stream.random() < 0.8
            ops.append(_op(begin, end if known else None))
        builder = Builder(len(ops))
        add_realtime_order(builder, ops)
        assert len(builder.edges()) <= 3 * len(ops)
        _assert_precedes(
            builder, ops, lambda a, b: a.end_index is not None and a.end_index < b.index
        )


def test_a_given_order_joins_lower_ranks_with_higher_ones() -> None:
    ops = [_op(n, n) for n in range(6)]
    ranks = {0: 3.0, 1: 1.0, 2: 1.0, 3: 2.0, 5: 9.0}
    builder = Builder(len(ops))
    add_given_order(builder, ops, ranks)
    _assert_precedes(
        builder,
        ops,
        lambda a, b: a.index in ranks and b.index in ranks and ranks[a.index] < ranks[b.index],
    )


def _assert_precedes(builder: Builder, ops: list[Op], precedes: object) -> None:
    assert callable(precedes)
    count = len(ops)
    start = np.repeat(np.arange(count), count)
    goal = np.tile(np.arange(count), count)
    joined = set(reached(builder.edges(), builder.nodes, start, goal, budget()))
    for a in range(count):
        for b in range(count):
            if a != b:
                assert (a * count + b in joined) == precedes(ops[a], ops[b])


def _op(begin: int, end: int | None) -> Op:
    outcome = "info" if end is None else "ok"
    return Op(0, "txn", None, [], outcome, [], begin, end, begin, end)  # type: ignore[arg-type]
