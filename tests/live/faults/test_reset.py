"""reset: what is connected is reset, once; new connections work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness import faults
from tests.support.live_cluster import ANSWER_S, HEALED, Live, abort, on_cluster

pytestmark = pytest.mark.live


def test_connections_are_reset_and_new_ones_work_at_once(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        connections = []
        for source, node in (("node-1", "node-2"), ("client", "node-1")):
            reader, writer = await asyncio.open_connection(*live.link(source, node).listen)
            writer.write(b'{"f": "ping"}\n')
            await reader.readline()
            connections.append((reader, writer))
        (concerned, first), (other, second) = connections

        site = await live.inject(faults.reset(who="node-1"))
        # Those of the proof itself do not count.
        assert live.told("f1", "injected")["connections"] == 1
        assert live.proof() == {"by": "probe", "links": 4, "reset": 4}
        async with asyncio.timeout(ANSWER_S):
            with pytest.raises(ConnectionResetError):
                await concerned.readexactly(1)
        second.write(b'{"f": "ping"}\n')
        async with asyncio.timeout(ANSWER_S):
            assert b"node-1" in await other.readline()
        assert await live.answers("node-1", "node-2")
        await abort(first)
        await abort(second)

        await live.nemesis.heal(site)
        assert live.proof(step="healed") == {"by": "probe", "links": 4, "answered": 4}
        await live.assert_sound()
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)
