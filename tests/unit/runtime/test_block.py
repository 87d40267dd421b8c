"""Addresses and their reservation."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BrokenError, UsageError
from harness.runtime import block
from harness.runtime.block import Block, reserve

NODES = ("node-1", "node-2", "node-3")


def test_every_link_has_an_address_of_its_own(tmp_path: Path) -> None:
    found = reserve(tmp_path, NODES, "run")
    r = found.number
    assert found.address("node-2") == f"127.{r}.0.2"
    assert found.link_address("node-3", "node-1") == f"127.{r}.3.1"
    assert found.link_address("client", "node-3") == f"127.{r}.250.3"
    assert found.api_address == f"127.{r}.254.254"
    links = [
        found.link_address(source, node)
        for source in (*NODES, "client")
        for node in NODES
        if source != node
    ]
    every = [*links, *map(found.address, NODES), found.api_address]
    assert len(set(every)) == len(every) == 9 + 3 + 1


def test_names_mean_links_except_the_own_one(tmp_path: Path) -> None:
    found = reserve(tmp_path, NODES, "run")
    r = found.number
    assert found.names("node-2") == {
        "node-1": f"127.{r}.2.1",
        "node-2": f"127.{r}.0.2",
        "node-3": f"127.{r}.2.3",
    }


def test_unknown_nodes_are_refused(tmp_path: Path) -> None:
    found = reserve(tmp_path, NODES, "run")
    for call in (found.address, found.home):
        with pytest.raises(UsageError, match="There is no node 'node-9'"):
            call("node-9")
    with pytest.raises(UsageError, match="no link from node-1 to itself"):
        found.link_address("node-1", "node-1")
    with pytest.raises(UsageError):
        found.link_address("client", "client")


@pytest.mark.parametrize("name", ["client", "localhost", "Node", "a_b", "-a", "a.b", "", "a/b"])
def test_impossible_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        reserve(tmp_path, (name,), "run")
    assert list(tmp_path.iterdir()) == []


def test_names_must_differ_and_be_few_enough(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="same name"):
        reserve(tmp_path, ("a", "a"), "run")
    for nodes in ((), [f"n{number}" for number in range(250)]):
        with pytest.raises(UsageError, match="cannot have"):
            reserve(tmp_path, nodes, "run")


def test_reservations_never_meet_and_end_with_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "_NUMBERS", range(16, 22))
    monkeypatch.setattr(block, "listeners", list)
    taken: list[Block] = [reserve(tmp_path, NODES, "run") for _ in range(6)]
    assert {found.number for found in taken} == set(range(16, 22))
    assert len({found.id for found in taken}) == 6
    with pytest.raises(BrokenError, match=r"No block of addresses is free: .* 6 clusters"):
        reserve(tmp_path, NODES, "run")
    assert len(list(tmp_path.iterdir())) == 6


def test_a_place_that_is_taken_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "_NUMBERS", range(16, 17))
    monkeypatch.setattr(block, "listeners", list)
    reserve(tmp_path, NODES, "run")
    owner = (tmp_path / "127.16" / "owner.json").read_text()
    monkeypatch.setattr(Path, "exists", lambda _path: False)  # the other one came in between
    with pytest.raises(BrokenError):
        reserve(tmp_path, NODES, "run")
    assert (tmp_path / "127.16" / "owner.json").read_text() == owner
    assert [path.name for path in tmp_path.iterdir()] == ["127.16"]
