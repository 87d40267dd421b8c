"""slow close: the end of a connection comes later, what came before it does not."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from harness import faults, milliseconds
from tests.support.live_cluster import ANSWER_S, HEALED, Live, abort, on_cluster, until

pytestmark = pytest.mark.live


async def ending_s(live: Live, source: str, node: str) -> float:
    """Seconds from our end of a connection to the node's."""
    reader, writer = await asyncio.open_connection(*live.link(source, node).listen)
    try:
        writer.write(b'{"f": "ping"}\n')
        async with asyncio.timeout(ANSWER_S):
            await reader.readline()
            start = time.monotonic()
            writer.write_eof()
            assert await reader.read() == b""
        return time.monotonic() - start
    finally:
        await abort(writer)


def test_connections_end_later_by_the_delay_of_both_directions(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(faults.slow_close(milliseconds(200), who="node-1"))
        # The proof's own connections do not count as met.
        assert live.told("f1", "injected")["connections"] == 0
        proof = live.proof()
        assert (proof["by"], proof["links"], proof["probed"]) == ("probe", 4, 4)
        assert proof["took_ms"] >= 200
        assert await ending_s(live, "node-2", "node-1") >= 0.4

        async def soon(source: str) -> bool:
            return await ending_s(live, source, "node-1") < 0.2

        await until(lambda: soon("client"))  # not concerned
        await live.nemesis.heal(site)
        assert live.proof(step="healed") == {"by": "probe", "links": 4, "answered": 4}
        await until(lambda: soon("node-2"))
        await live.assert_sound()
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)


def test_a_short_delay_is_not_measured(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(faults.slow_close(milliseconds(5), who="node-1"))
        assert live.proof() == {"by": "toxiproxy", "links": 4}
        await live.nemesis.heal(site)
        await live.assert_sound()

    on_cluster(tmp_path, work)
