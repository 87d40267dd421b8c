"""netsplit: exactly the links that a shape names are cut, both ways of cutting them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from harness import faults
from tests.support.live_cluster import ANSWER_S, HEALED, SILENCE_S, Live, abort, on_cluster

pytestmark = pytest.mark.live

How = Literal["drop", "reject"]

SHAPES: Sequence[Any] = (
    ("isolate", {"who": "leader"}),
    ("isolate", {"who": ["node-2", "node-3"]}),
    ("halves", {}),
    ("random-halves", {}),
    ("majorities-ring", {}),
    ("bridge", {}),
    ("minority-third", {}),
    ("one-way", {"who": "node-2"}),
    ("groups", {"groups": [["node-1"], ["node-3"]]}),
    ("groups", {"groups": [["node-1", "client"], ["node-2"]]}),
    ("links", {"links": [("node-1", "node-3")]}),
    ("links", {"links": [("client", "node-2")]}),
)


@pytest.mark.parametrize("how", ["drop", "reject"])
def test_every_shape_cuts_the_links_it_names_and_no_other(tmp_path: Path, how: How) -> None:
    async def work(live: Live) -> None:
        links = live.cluster.network.links()
        everybody = {(link.source, link.node) for link in links}

        async def hears_nothing(source: str, node: str) -> bool:
            # With drop, whoever asks hears nothing if the question or the answer is lost.
            said = await live.say(source, node, SILENCE_S if how == "drop" else ANSWER_S)
            return said == ("silent" if how == "drop" else "refused")

        for number, (shape, options) in enumerate(SHAPES):
            id = f"f{number}"
            site = await live.inject(faults.netsplit(shape, how=how, **options), id)
            cuts = {(source, node) for source, node in live.told(id, "injected")["cuts"]}
            assert cuts
            expected = {
                (source, node)
                for source, node in everybody
                if (source, node) in cuts or (how == "drop" and (node, source) in cuts)
            }
            pairs = sorted(expected)
            cut = await asyncio.gather(*(hears_nothing(*pair) for pair in pairs))
            assert all(cut), (shape, options, list(zip(pairs, cut, strict=True)))
            others = sorted(everybody - expected)
            open_ = await asyncio.gather(*(live.answers(*pair) for pair in others))
            assert all(open_), (shape, options, list(zip(others, open_, strict=True)))
            proof = live.proof(id)
            saw = ["silent"] if how == "drop" else ["refused"]
            assert (proof["by"], proof["saw"]) == ("probe", saw)
            assert proof["links"] == proof["probed"] == len(expected)

            await live.nemesis.heal(site)
            assert live.proof(id, "healed") == {"by": "probe", "answered": len(expected)}
            assert await live.cluster.network.verify() == []
            assert live.steps(id) == list(HEALED)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_one_way_cut_loses_the_bytes_of_one_direction_only(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        async def written(value: int) -> object:
            """Whether a write through the link to node-1 had effect, seen past all links."""
            said = await live.say("node-2", "node-1", SILENCE_S, f="write", key="k", value=value)
            assert said == "silent"
            answer = await live.say("", "node-1", f="read", key="k")
            assert isinstance(answer, dict)
            return answer["value"]

        answers_lost = faults.netsplit("links", links=[("node-1", "node-2")])
        site = await live.inject(answers_lost, "f1")
        assert await written(1) == 1
        await live.nemesis.heal(site)

        questions_lost = faults.netsplit("links", links=[("node-2", "node-1")])
        site = await live.inject(questions_lost, "f2")
        assert await written(2) == 1
        await live.nemesis.heal(site)
        # What was lost stays lost.
        assert await live.say("", "node-1", f="read", key="k") == {"value": 1}
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_the_nodes_themselves_feel_it(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        # Followers ask the leader by its host name.
        read: dict[str, Any] = {"f": "read", "key": "k"}
        assert await live.say("client", "node-2", **read) == {"value": None}
        site = await live.inject(faults.netsplit("isolate", who="node-2", how="reject"))
        said = await live.say("client", "node-2", **read)
        assert isinstance(said, dict) and "refused" in said["error"].lower()
        assert await live.say("client", "node-3", **read) == {"value": None}
        await live.nemesis.heal(site)
        assert await live.say("client", "node-2", **read) == {"value": None}

    on_cluster(tmp_path, work)


@pytest.mark.parametrize("how", ["drop", "reject"])
def test_connections_that_lived_through_a_cut_do_not_go_on(tmp_path: Path, how: How) -> None:
    async def work(live: Live) -> None:
        reader, writer = await asyncio.open_connection(*live.link("client", "node-1").listen)
        writer.write(b'{"f": "ping"}\n')
        await reader.readline()
        site = await live.inject(
            faults.netsplit("links", links=[("client", "node-1"), ("node-1", "client")], how=how)
        )
        assert live.told("f1", "injected")["connections"] == 1
        if how == "drop":
            writer.write(b'{"f": "ping"}\n')
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SILENCE_S):
                    await reader.readline()
            await live.nemesis.heal(site)
        async with asyncio.timeout(ANSWER_S):
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
        await abort(writer)
        await live.nemesis.heal(site)
        await live.assert_sound()

    on_cluster(tmp_path, work)
