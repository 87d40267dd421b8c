"""That a fault is gone is proved link by link, while others come and go on the same links."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import FaultError
from harness.faults import _probing
from harness.faults._probing import Sounding, prove_free
from harness.network import Link

FREE = Sounding(0.001, 0.05)
PATIENCE_S = 0.1


def link(source: str, node: str) -> Link:
    number = f"{source[-1]}.{node[-1]}"
    return Link(source, node, "port", (f"127.9.{number}", 1), (f"127.8.{number}", 1))


CUT = link("node-1", "node-2")
SOUND = link("node-2", "node-3")


def site(held: set[Link]) -> Any:
    """What a proof asks of its site: every link has a probe, those in `held` are disturbed."""
    return SimpleNamespace(
        id="f1",
        cluster=SimpleNamespace(
            target=SimpleNamespace(probes={"port": b"?"}),
            reachable=list,
            network=SimpleNamespace(held=held.__contains__),
        ),
    )


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_probing, "PATIENCE_S", PATIENCE_S)


def test_a_link_that_another_fault_disturbed_is_asked_again_after_a_long_round() -> None:
    held: set[Link] = set()
    asked: list[Any] = []

    async def sound(address: Any, _probe: bytes) -> Sounding | None:
        asked.append(address)
        if address == CUT.listen:
            held.add(CUT)  # a netsplit comes while it is asked: silence until the time is up
            await asyncio.sleep(2 * PATIENCE_S)
            return None
        # The first time its connection is reset by yet another fault.
        return None if asked.count(address) == 1 else FREE

    assert asyncio.run(prove_free(site(held), [CUT, SOUND], sound)) == 1
    assert asked.count(CUT.listen) == 1


def test_a_link_that_never_answers_is_not_healed() -> None:
    async def sound(address: Any, _probe: bytes) -> Sounding | None:
        return FREE if address == SOUND.upstream else None

    with pytest.raises(FaultError, match="node-2>node-3:port is healed, but"):
        asyncio.run(prove_free(site(set()), [SOUND], sound))


def test_a_node_that_is_slow_itself_says_nothing() -> None:
    async def sound(_address: Any, _probe: bytes) -> Sounding | None:
        return None

    assert asyncio.run(prove_free(site(set()), [SOUND], sound)) == 0
