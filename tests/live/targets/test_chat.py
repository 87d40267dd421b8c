"""Real clusters of chat: what our own client and the stock one of npm get over a kill."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.cluster import Cluster
from targets.chat import Chat
from targets.chat.channels import PORT, Refusal, Socket
from targets.chat.member import Member
from tests.support.live_cluster import Live, on_cluster, until

pytestmark = pytest.mark.live

TOPIC = "room:lobby"
CONVERSATION = Path(__file__).with_name("phoenix_client")
INSTALL_TIMEOUT_S = 120


# The stock client


@pytest.fixture(scope="module")
def phoenix_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the conversation and the packages that it needs, from npm (or its cache)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the stock Phoenix client needs node and npm (apt-get install nodejs npm)")
    folder = tmp_path_factory.mktemp("phoenix-client")
    for file in CONVERSATION.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    quietly = ["--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
    installed = subprocess.run(
        [npm, "install", *quietly],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install the stock Phoenix client: {installed.stderr[-500:]}")
    return folder


def test_the_stock_phoenix_client_talks_to_it(tmp_path: Path, phoenix_client: Path) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        urls = [f"ws://{cluster.client_host(name)}:{PORT}/socket" for name in cluster.names]
        async with conversation(phoenix_client, urls) as (said, tell):
            assert await said("joined") == {"users": ["alice"]}
            both = ["alice", "bob"]
            assert await said("present") == {"alice": both, "bob": both}
            assert (await said("broadcast"))["reply"]["seq"] == 1
            assert await said("repeated") == {"same": True, "heard": 1}
            assert "refused" in (await said("refused"))["error"]
            assert await said("left") == {"users": ["alice"]}
            assert await said("history") == {"messages": ["hi bob"]}
            await said("waiting")
            await cluster.kill("node-1", "test")
            await tell("killed")
            assert await said("missed") == {"users": ["bob"]}
            await cluster.revive("node-1", "test")
            assert await cluster.wait_serving(10) == []
            await tell("restarted")
            rejoined = await said("rejoined")
            assert rejoined["messages"] == ["hi bob", "are you there?", "here I am"]
            assert rejoined["others"] == ["hi bob", "are you there?", "here I am"]

    on_cluster(tmp_path, work, target=Chat(nodes=2))


@asynccontextmanager
async def conversation(folder: Path, urls: list[str]) -> AsyncIterator[Any]:
    """What the script says, line by line, and a way to tell it something."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "conversation.mjs",
        *urls,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    reader, writer = process.stdout, process.stdin

    async def said(what: str) -> dict[str, Any]:
        async with asyncio.timeout(15):
            line = await reader.readline()
        told = dict(json.loads(line or b'{"failed": "it ended"}'))
        assert told.pop("did", None) == what, told
        return told

    async def tell(what: str) -> None:
        writer.write(f"{what}\n".encode())
        await writer.drain()

    try:
        yield said, tell
        async with asyncio.timeout(5):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# Our own client


def test_members_and_what_is_refused(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        await a_member_comes_back_and_has_missed_nothing(live.cluster)
        await what_is_wrong_is_refused(live.cluster)

    on_cluster(tmp_path, work, target=Chat(nodes=2))


async def a_member_comes_back_and_has_missed_nothing(cluster: Cluster) -> None:
    ann, bob = (Member(TOPIC, user, random=Random(user)) for user in ("ann", "bob"))
    hosts = [cluster.client_host(name) for name in cluster.names]
    tasks = [
        asyncio.create_task(one.attend(host)) for one, host in zip((ann, bob), hosts, strict=True)
    ]
    try:
        await asyncio.gather(ann.joined(), bob.joined())
        await until(lambda: ann.roster.users == bob.roster.users == ["ann", "bob"])
        answers = [await ann.publish("a1", "hello", times=1) for _ in range(2)]
        assert answers[0] == answers[1]
        await cluster.kill("node-2", "test")
        await ann.publish("a2", "are you there?")
        await until(lambda: ann.roster.users == ["ann"])
        await cluster.revive("node-2", "test")
        await until(lambda: ann.roster.users == ["ann", "bob"], 15)
        await until(lambda: len(bob._inbox) == 2)
        assert bob.take() == ["a1", "a2"]
        assert bob.reconnects >= 1
        stream = await bob.ask("q1", "what was that?", "markov")
        await until(lambda: [stream, "complete"] in ann.streams.states)
        assert ann.streams.answers[stream].text
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def what_is_wrong_is_refused(cluster: Cluster) -> None:
    host = cluster.client_host("node-1")
    socket = await Socket.open(host)
    try:
        for topic, payload in (
            ("lobby", {"user": "eve"}),
            ("room:", {"user": "eve"}),
            (TOPIC, {"user": ""}),
            (TOPIC, {"user": "eve", "cursor": "all"}),
        ):
            with pytest.raises(Refusal):
                await socket.join(topic, payload, lambda event, payload: None)
        await socket.join(TOPIC, {"user": "eve"}, lambda event, payload: None)
        with pytest.raises(Refusal):
            await socket.push(TOPIC, "new_msg", {"id": "e1", "body": "x" * 10_000})
        await socket.heartbeat()
    finally:
        await socket.close()
