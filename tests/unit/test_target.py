"""What a target must say of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from fixtures.registers import Registers
from harness import Target
from harness.errors import UsageError


class Shop(Target):
    name = "shop"
    ports: ClassVar[Mapping[str, int]] = {"http": 8080}
    dependencies: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "database": {"sql": 5432},
        "mail": {"smtp": 2525, "imap": 1143},
    }


def test_dependencies_are_started_first_and_have_their_own_ports() -> None:
    shop = Shop(nodes=2)
    assert shop.node_names == ("node-1", "node-2")
    assert shop.all_names == ("database", "mail", "node-1", "node-2")
    assert shop.ports_of("mail") == {"smtp": 2525, "imap": 1143}
    assert shop.ports_of("node-2") == {"http": 8080}
    assert shop.all_ports == {"http": 8080, "sql": 5432, "smtp": 2525, "imap": 1143}


def test_a_port_of_a_dependency_must_be_a_port() -> None:
    class Wrong(Shop):
        dependencies: ClassVar[Mapping[str, Mapping[str, int]]] = {"database": {"sql": 0}}

    with pytest.raises(UsageError, match="names the port 'sql' as 0"):
        Wrong()


def test_a_mutant_must_be_one_of_the_targets() -> None:
    assert Registers(mutant="stale-reads").to_json()["mutant"] == "stale-reads"
    with pytest.raises(UsageError, match=r"no mutant 'stale'.*\n.*stale-reads, forgets"):
        Registers(mutant="stale")


def test_options_without_a_dataclass_would_have_no_effect() -> None:
    class Undecorated(Shop):
        nodes: int = 2

    with pytest.raises(UsageError, match="Undecorated has an option 'nodes', but is no dataclass"):
        Undecorated()

    @dataclass(frozen=True, kw_only=True)
    class Decorated(Shop):
        nodes: int = 2
        cache: ClassVar[dict[str, Any]] = {}

    assert Decorated().nodes == 2
