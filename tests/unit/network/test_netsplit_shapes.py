"""Properties of the shapes of netsplits, and what they become on links."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.network import Drop, Link, Reject, mesh, netsplit

names = st.integers(min_value=3, max_value=11).map(
    lambda count: [f"node-{number}" for number in range(1, count + 1)]
)
seeds = st.integers(min_value=0, max_value=2**32)


def heard(cuts: netsplit.Cuts, nodes: list[str]) -> dict[str, frozenset[str]]:
    """Whom each node hears, itself included."""
    return {
        node: frozenset(source for source in nodes if (source, node) not in cuts) for node in nodes
    }


def symmetric(cuts: netsplit.Cuts) -> bool:
    return cuts == {(node, source) for source, node in cuts}


def sides(cuts: netsplit.Cuts, nodes: list[str]) -> set[frozenset[str]]:
    return set(heard(cuts, nodes).values())


@given(names, seeds)
def test_isolate_leaves_one_node_alone_and_the_others_together(nodes: list[str], seed: int) -> None:
    node = random.Random(seed).choice(nodes)
    cuts = netsplit.isolate(nodes, node)
    assert symmetric(cuts)
    assert sides(cuts, nodes) == {frozenset({node}), frozenset(nodes) - {node}}


@given(names)
def test_the_second_half_is_the_larger_one(nodes: list[str]) -> None:
    cuts = netsplit.halves(nodes)
    middle = len(nodes) // 2
    assert symmetric(cuts)
    assert sides(cuts, nodes) == {frozenset(nodes[:middle]), frozenset(nodes[middle:])}


@given(names, seeds)
def test_random_halves_are_halves_and_a_function_of_the_seed(nodes: list[str], seed: int) -> None:
    cuts = netsplit.random_halves(nodes, random.Random(seed))
    assert cuts == netsplit.random_halves(nodes, random.Random(seed))
    assert (
        sorted(map(len, sides(cuts, nodes)))
        == sorted({len(nodes) // 2, len(nodes) - len(nodes) // 2})
        or len(sides(cuts, nodes)) == 2
    )
    assert len(cuts) == 2 * (len(nodes) // 2) * (len(nodes) - len(nodes) // 2)


@given(names, seeds)
def test_in_a_majorities_ring_every_node_hears_a_majority_of_its_own(
    nodes: list[str], seed: int
) -> None:
    cuts = netsplit.majorities_ring(nodes, random.Random(seed))
    assert cuts == netsplit.majorities_ring(nodes, random.Random(seed))
    views = heard(cuts, nodes)
    majority = len(nodes) // 2 + 1
    assert all(node in view and len(view) >= majority for node, view in views.items())
    assert len(set(views.values())) == len(nodes)
    if len(nodes) <= 5:
        assert all(len(view) == majority for view in views.values())
    if len(nodes) not in (3,):
        assert symmetric(cuts)


@given(names, seeds)
def test_a_bridge_hears_everybody_and_joins_two_halves(nodes: list[str], seed: int) -> None:
    cuts = netsplit.bridge(nodes, random.Random(seed))
    views = heard(cuts, nodes)
    bridges = [node for node in nodes if views[node] == frozenset(nodes)]
    assert len(bridges) == 1
    rest = [node for node in nodes if node not in bridges]
    halves = sides(cuts, rest)
    assert symmetric(cuts)
    assert sum(map(len, halves)) == len(rest)
    assert max(map(len, halves)) - min(map(len, halves)) <= 1
    assert netsplit.bridge(nodes, "node-2") == netsplit.halves(
        [node for node in nodes if node != "node-2"]
    )


@given(names, seeds)
def test_a_minority_third_is_less_than_a_third_but_somebody(nodes: list[str], seed: int) -> None:
    cuts = netsplit.minority_third(nodes, random.Random(seed))
    small, large = sorted(sides(cuts, nodes), key=len)
    assert symmetric(cuts)
    assert small | large == frozenset(nodes)
    assert len(small) == 1 or 3 * len(small) < len(nodes)


def test_different_seeds_draw_different_netsplits() -> None:
    nodes = [f"node-{number}" for number in range(1, 8)]
    for shape in (
        netsplit.random_halves,
        netsplit.majorities_ring,
        netsplit.bridge,
        netsplit.minority_third,
    ):
        assert len({shape(nodes, random.Random(seed)) for seed in range(20)}) > 3


def test_a_one_way_cut_leaves_the_other_direction() -> None:
    assert netsplit.one_way(["a"], ["b", "c"]) == {("a", "b"), ("a", "c")}
    with pytest.raises(UsageError, match="both sides"):
        netsplit.one_way(["a", "b"], ["b"])


def test_groups_are_cut_from_each_other_and_nodes_in_none_keep_their_links() -> None:
    cuts = netsplit.groups([["a"], ["b", "c"]], ["a", "b", "c", "d"])
    assert cuts == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}
    assert ("client", "a") in netsplit.groups([["a"], ["client"]], ["a", "b"])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["a"], ["x"]], "no node 'x'"),
        ([["a", "b"], ["b", "c"]], "b is named twice"),
        ([["a", "a"], ["b"]], "a is named twice"),
        ([["a", "b"]], "cuts nothing"),
        ([["a"], []], "cuts nothing"),
        ([], "cuts nothing"),
    ],
)
def test_groups_that_mean_nothing_are_refused(groups: list[list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        netsplit.groups(groups, ["a", "b", "c"])


def test_directed_cuts_are_exactly_those_given() -> None:
    nodes = ["a", "b"]
    assert netsplit.directed([("a", "b"), ["client", "a"]], nodes) == {("a", "b"), ("client", "a")}
    for pair, message in (
        (("a", "x"), "no node 'x'"),
        (("a", "a"), "no link"),
        (("a",), "no link"),
        ("ab", "no link"),
    ):
        with pytest.raises(UsageError, match=message):
            netsplit.directed([pair], nodes)


def test_clusters_that_are_too_small_are_refused() -> None:
    rng = random.Random(1)
    for shape, nodes in (
        (lambda n: netsplit.isolate(n, "a"), ["a"]),
        (netsplit.halves, ["a"]),
        (lambda n: netsplit.majorities_ring(n, rng), ["a", "b"]),
        (lambda n: netsplit.bridge(n, rng), ["a", "b"]),
        (lambda n: netsplit.minority_third(n, rng), ["a"]),
    ):
        with pytest.raises(UsageError, match="needs at least"):
            shape(nodes)
    with pytest.raises(UsageError, match="no node 'x'"):
        netsplit.isolate(["a", "b"], "x")
    with pytest.raises(UsageError, match="no node 'x'"):
        netsplit.bridge(["a", "b", "c"], "x")


def links_of(*nodes: str) -> dict[str, Link]:
    links = mesh(
        nodes, lambda _: {"peer": 7000}, lambda _: "127.0.0.1", lambda _source, _node: "127.0.0.2"
    )
    return {link.name: link for link in links}


def test_a_cut_drops_bytes_on_the_links_of_both_ends() -> None:
    links = links_of("a", "b", "c")
    assert netsplit.effects(frozenset({("a", "b")}), links.values()) == {
        links["a>b:peer"]: (Drop("to"),),
        links["b>a:peer"]: (Drop("from"),),
    }
    assert netsplit.effects(frozenset({("a", "b"), ("b", "a")}), links.values()) == {
        links["a>b:peer"]: (Drop("both"),),
        links["b>a:peer"]: (Drop("both"),),
    }
    assert netsplit.effects(frozenset({("a", "client")}), links.values()) == {
        links["client>a:peer"]: (Drop("from"),)
    }


def test_a_rejecting_cut_refuses_connections_of_its_source_alone() -> None:
    links = links_of("a", "b")
    assert netsplit.effects(frozenset({("a", "b")}), links.values(), "reject") == {
        links["a>b:peer"]: (Reject(),)
    }
    assert netsplit.effects(frozenset({("a", "client")}), links.values(), "reject") == {}


def test_a_cut_without_a_link_is_refused() -> None:
    with pytest.raises(UsageError, match="no link between a and x"):
        netsplit.effects(frozenset({("a", "x")}), links_of("a", "b").values())


@given(names, seeds)
def test_effects_lose_exactly_the_bytes_that_are_cut(nodes: list[str], seed: int) -> None:
    everybody = [*nodes, "client"]
    rng = random.Random(seed)
    cuts = frozenset(
        (source, node)
        for source in everybody
        for node in everybody
        if source != node and rng.random() < 0.3
    )
    links = links_of(*nodes).values()
    effects = netsplit.effects(cuts, links)
    for link in links:
        drops = {effect.direction for effect in effects.get(link, ())}
        assert bool(drops & {"to", "both"}) == ((link.source, link.node) in cuts)
        assert bool(drops & {"from", "both"}) == ((link.node, link.source) in cuts)
