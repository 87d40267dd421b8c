"""The network against a real server: holders that overlap, failures, hanging, and clean ends."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from harness.errors import BrokenError, FaultError, UsageError
from harness.network import (
    Bandwidth,
    Drop,
    Effect,
    Latency,
    Link,
    LinkState,
    Network,
    Reject,
    Reset,
    Slicer,
    SlowClose,
    answer,
    netsplit,
    sockets,
)
from harness.network.network import MAX_REPLACEMENTS
from harness.network.resets import Resetter
from harness.network.toxiproxy import remove_proxy
from harness.runtime import proc
from tests.support.toxiproxy import Server, poll, reserved, running_toxiproxy, serving, until

pytestmark = pytest.mark.live

SILENCE_S = 0.15


@pytest.fixture
def server() -> Iterator[Server]:
    with running_toxiproxy() as running:
        yield running


@contextlib.asynccontextmanager
async def opened(
    server: Server, nodes: int = 3, ports: dict[str, int] | None = None
) -> AsyncIterator[Network]:
    network = server.network(nodes, ports)
    await network.open()
    try:
        yield network
    finally:
        await network.close()


async def names(network: Network, link: Link) -> set[str]:
    return set((await network.state())[link].toxics)


def test_open_creates_all_links_and_close_removes_them(server: Server) -> None:
    async def work() -> None:
        async with opened(server, ports={"peer": 7000, "api": 7001}) as network:
            state = await network.state()
            assert set(state) == set(network.links())
            assert len(state) == (6 + 3) * 2
            assert set(map(str, state.values())) == {str(LinkState())}
            assert await network.verify() == []
            await network.close()
            await network.close()
            assert server_has(server) == set()
            with pytest.raises(BrokenError, match="closed"):
                await network.hold("f", {})
            assert await network.connections() == {}
            await network.release("f")

    asyncio.run(work())


def server_has(server: Server) -> set[str]:
    probe = server.network().server
    try:
        return set(probe.proxies())
    finally:
        probe.close()


def test_links_are_chosen_by_source_node_and_port(server: Server) -> None:
    network = server.network(3, {"peer": 7000, "api": 7001})
    assert len(network.links()) == 18
    assert len(network.links("client")) == 6
    assert len(network.links(node="node-1")) == 6
    assert [link.name for link in network.links("node-1", "node-2", "api")] == ["node-1>node-2:api"]
    assert network.links("node-9") == ()
    asyncio.run(network.close())


def test_an_address_in_use_is_named(server: Server) -> None:
    async def work() -> None:
        network = server.network()
        host, port = network.links()[1].listen
        with (
            socket.create_server((host, port)),
            pytest.raises(BrokenError, match="address already in use") as caught,
        ):
            await network.open()
        assert f"{host}:{port}" in str(caught.value)
        await network.close()
        assert server_has(server) == set()

    asyncio.run(work())


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.network.network.OPEN_DEADLINE_S", 0.2)
    with reserved() as addresses:

        async def work() -> None:
            network = Network(addresses.api, 8474, [])
            with pytest.raises(BrokenError, match=r"did not answer within 0\.2 s"):
                await network.open()
            await network.close()

        asyncio.run(work())


def test_the_last_holder_heals_what_several_dropped(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network, serving(network.links()):
            link = network.links("node-1", "node-2")[0]
            await network.hold("a", {link: [Drop("to")]})
            await network.hold("b", {link: [Drop("both")]})
            assert await names(network, link) == {
                "drop:timeout:upstream",
                "drop:timeout:downstream",
            }
            await network.release("b")
            assert await names(network, link) == {"drop:timeout:upstream"}
            assert network.held(link)
            assert (await answer(link, b"x", SILENCE_S)).kind == "silent"
            await network.release("a")
            assert await names(network, link) == set()
            assert not network.held(link)
            assert (await answer(link, b"x", 5)).kind == "answered"

    asyncio.run(work())


def test_the_last_holder_accepts_again_what_several_rejected(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network, serving(network.links()):
            link = network.links("node-1", "node-2")[0]
            await network.hold("a", {link: [Reject()]})
            await network.hold("b", {link: [Reject(), Latency(1)]})
            await network.release("a")
            assert (await answer(link, b"x", 1)).kind == "refused"
            assert await network.verify() == []
            await network.release("b")
            assert (await answer(link, b"x", 5)).kind == "answered"

    asyncio.run(work())


def test_toxics_carry_the_name_of_their_holder_whatever_it_is(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network:
            link = network.links()[0]
            for holder in ("fault/1 é?", "..", "a:b"):
                await network.hold(holder, {link: [Latency(1, "to"), Latency(2, "to")]})
            assert len(await names(network, link)) == 6
            assert await network.verify() == []
            for holder in ("fault/1 é?", "..", "a:b"):
                await network.release(holder)
            assert await names(network, link) == set()

    asyncio.run(work())


def test_update_changes_toxics_in_place_and_connections_stay(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network, serving(network.links()):
            link, other = network.links()[:2]
            await network.hold("f", {link: [Latency(1)]})
            reader, writer = await asyncio.open_connection(*link.listen)
            for step_ms in (40, 10):
                await network.update("f", {link: [Latency(step_ms)]})
                toxics = (await network.state())[link].toxics.values()
                assert [toxic.attributes["latency"] for toxic in toxics] == [step_ms, step_ms]
                writer.write(b"x")
                async with asyncio.timeout(5):
                    assert await reader.readexactly(1) == b"x"
            writer.transport.abort()
            # Other links and other kinds of effects.
            await network.update("f", {other: [Bandwidth(9)]})
            assert await names(network, link) == set()
            assert len(await names(network, other)) == 2
            assert await network.verify() == []
            await network.release("f")
            assert await network.verify() == []

    asyncio.run(work())


def test_wrong_use_is_refused_and_changes_nothing(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network:
            link = network.links()[0]
            stranger = Link("a", "b", "c", ("127.0.0.1", 1), ("127.0.0.1", 2))
            with pytest.raises(UsageError, match="no link a>b:c"):
                await network.hold("f", {link: [Drop()], stranger: [Drop()]})
            with pytest.raises(UsageError, match="holds no effects"):
                await network.update("f", {})
            await network.hold("f", {link: [Drop()]})
            with pytest.raises(UsageError, match="already holds"):
                await network.hold("f", {})
            await network.release("f")
            await network.release("f")
            await network.release("nobody")
            assert await network.verify() == []
            assert not network.held(link)

    asyncio.run(work())


def test_a_part_that_fails_undoes_the_whole(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network, serving(network.links()):
            first, second, gone = network.links()[:3]
            await network.hold("before", {first: [Latency(1)], second: [Drop()]})
            network.server.call(remove_proxy(gone.name))
            effects: dict[Link, list[Effect]] = {
                first: [Drop(), Latency(5)],
                second: [Reject()],
                gone: [Drop()],
            }
            with pytest.raises(FaultError, match="as they were before") as caught:
                await network.hold("f", effects)
            assert "proxy not found" in str(caught.value)
            assert await network.verify() == []
            assert (await answer(gone, b"x", 5)).kind == "answered"
            assert not network.held(gone)
            assert len(await names(network, first)) == 2
            assert (await network.state())[second].enabled
            await network.release("f")
            await network.release("before")
            assert await names(network, first) == await names(network, second) == set()

    asyncio.run(work())


def test_verify_names_what_differs(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network:
            first, second, third = network.links()[:3]
            await network.hold("f", {first: [Latency(5, "to")], second: [Reject()]})
            proxies = network.server.proxies()
            proxies[first.name].update_toxic("f:0:latency:upstream", {"latency": 6})
            proxies[second.name].enable()
            proxies[third.name].add_toxic("timeout")
            last = network.links()[-1]
            proxies[last.name].destroy()
            found = await network.verify()
            assert len(found) == 4
            assert found[3] == f"{last.name} does not exist"
            assert found[0].startswith(f"{first.name} has ")
            assert "'latency': 6" in found[0]
            assert "'latency': 5" in found[0]
            assert found[1] == f"{second.name} is accepting connections"
            assert "instead of nothing" in found[2]

    asyncio.run(work())


def test_a_failed_release_can_be_repeated(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network, serving(network.links()):
            link = network.links()[0]
            await network.hold("f", {link: [Reject(), Latency(1)]})
            with socket.create_server(link.listen):
                with pytest.raises(FaultError, match="could not be undone"):
                    await network.release("f")
                assert network.held(link)
            await network.release("f")
            assert not network.held(link)
            assert await network.verify() == []

    asyncio.run(work())


def test_connections_are_counted_per_link(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network, serving(network.links()):
            first, second = network.links()[:2]
            assert await network.connections() == {}
            writers = []
            for link, count in ((first, 3), (second, 1)):
                for _ in range(count):
                    writers.append((await asyncio.open_connection(*link.listen))[1])
            assert await network.connections() == {first: 3, second: 1}
            await network.hold("f", {first: [Reject()]})

            async def cut() -> bool:
                return await network.connections() == {second: 1}

            await until(cut)
            for writer in writers:
                writer.transport.abort()
            await network.release("f")

    asyncio.run(work())


def test_netlink_and_proc_tell_the_same() -> None:
    with (
        reserved() as addresses,
        socket.create_server((addresses.api, 7000)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        there, _ = listener.accept()
        client.send(b"unread")
        ends = {client.getsockname(), listener.getsockname()}

        def mine(found: Iterator[sockets.Connection]) -> list[sockets.Connection]:
            return sorted(one for one in found if one.local in ends)

        by_netlink = mine(sockets._from_netlink(None, (1, 8)))
        assert by_netlink == mine(sockets._from_proc(None, (1, 8)))
        assert [one.local for one in by_netlink] == sorted(ends)
        there.close()


def test_many_holders_at_once_end_where_they_began(server: Server) -> None:
    async def one(network: Network, number: int) -> None:
        rng = random.Random(number)
        for turn in range(4):
            chosen = rng.sample(network.links(), 4)
            kinds: list[Effect] = [
                Drop(rng.choice(["both", "to", "from"])),
                Reject(),
                Latency(rng.randint(0, 3)),
                Bandwidth(1000),
                SlowClose(1),
                Slicer(100),
                Reset(),
            ]
            holder = f"fault-{number}-{turn}"
            await network.hold(holder, {link: rng.sample(kinds, 2) for link in chosen})
            await network.update(holder, {link: rng.sample(kinds, 2) for link in chosen})
            assert await network.verify() == []
            await network.release(holder)

    async def talk(link: Link) -> None:
        while True:
            await answer(link, b"x" * 1000, 0.2)

    async def work() -> None:
        async with opened(server) as network, serving(network.links()):
            clients = [asyncio.create_task(talk(link)) for link in network.links()]
            await asyncio.gather(*(one(network, number) for number in range(5)))
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
            assert await network.verify() == []
            state = await network.state()
            assert all(link_state == LinkState() for link_state in state.values())
            for link in network.links():
                assert (await answer(link, b"x", 5)).kind == "answered"

    asyncio.run(work())


def test_a_cancelled_hold_is_finished_and_can_be_released(server: Server) -> None:
    async def work() -> None:
        async with opened(server, 5) as network:
            effects = {link: [Drop(), Latency(3)] for link in network.links()}
            holding = asyncio.create_task(network.hold("f", effects))
            await asyncio.sleep(0)  # so that it begins
            holding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await holding
            await network.release("f")
            assert await network.verify() == []
            state = await network.state()
            assert all(not link_state.toxics for link_state in state.values())

    asyncio.run(work())


# A server that hangs, and one that is gone


def test_a_server_that_hangs_is_ended_once_and_everything_after_it_returns() -> None:
    escapes: list[int] = []

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A version at first, so that it can be opened; nothing for a toxic.
        while request := await reader.readuntil(b"\r\n\r\n"):
            if request.startswith(b"GET /version"):
                body = b'{"version":"0"}'
            elif request.startswith(b"POST /populate"):
                length = int(request.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                body = b'{"proxies":[]}'
            else:
                await reader.read()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def work() -> None:
        with reserved() as addresses:
            link = Link("client", "a", "b", (addresses.link("client", "a-1"), 1), ("127.0.0.1", 1))
            api = Link("client", "api", "api", (addresses.api, 1), (addresses.api, 8474))
            async with serving([api], never_answer):
                network = Network(
                    addresses.api,
                    8474,
                    [link],
                    escape=lambda: escapes.append(1),
                    deadline_s=0.2,
                )
                await network.open()
                with pytest.raises(BrokenError, match="hung and was killed") as caught:
                    await network.hold("f", {link: [Drop()]})
                assert "within 0.2 s" in str(caught.value)
                with pytest.raises(BrokenError, match="dead"):
                    await network.hold("g", {link: [Drop()]})
                with pytest.raises(BrokenError, match="dead"):
                    await network.verify()
                async with asyncio.timeout(0.1):
                    await network.release("f")
                    await network.close()
                assert escapes == [1]

    asyncio.run(work())


def freeze(server: Server) -> None:
    """Stop the server where it is; returns when it has stopped."""
    server.process.send_signal(signal.SIGSTOP)
    poll(lambda: (now := proc.status(server.process.pid)) is not None and now.stopped)


def stuff(link: Link, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A connection through `link` whose client does not read, with all buffers full."""
    client = socket.create_connection(link.listen, timeout=5)
    there, _ = listener.accept()
    there.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            there.send(b"x" * 65536)
    return client, there


@pytest.mark.parametrize("effect", [Drop(), Latency(5), Bandwidth(100_000), Slicer(1000)])
def test_a_receiver_that_does_not_read_is_reset_and_does_not_make_it_hang(
    server: Server, effect: Effect
) -> None:
    async def work() -> None:
        async with opened(server) as network:
            link = network.links("client", "node-1")[0]
            with socket.create_server(link.upstream) as listener:
                client, there = stuff(link, listener)
                with client, there:
                    await network.hold("f", {link: [effect]})
                    await network.release("f")
                    assert await network.verify() == []
                    assert server.replaced == []
                    with pytest.raises(ConnectionResetError):
                        while client.recv(1 << 20):
                            pass

    asyncio.run(work())


def test_a_node_that_does_not_read_is_reset_and_does_not_make_it_hang(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network:
            link = network.links("client", "node-1")[0]
            with socket.create_server(link.upstream) as listener:
                client = socket.create_connection(link.listen, timeout=5)
                there, _ = listener.accept()
                with client, there:
                    client.settimeout(0.3)
                    with contextlib.suppress(TimeoutError):
                        while True:
                            client.send(b"x" * 65536)
                    await network.hold("f", {link: [Drop()]})
                    await network.release("f")
                    assert await network.verify() == []
                    assert server.replaced == []

    asyncio.run(work())


@pytest.mark.parametrize("effects", [[Reject()], [Latency(1), Latency(1)]])
def test_a_node_that_takes_no_connections_does_not_make_it_hang(
    server: Server, effects: list[Effect]
) -> None:
    async def work() -> None:
        async with opened(server) as network:
            link = network.links("client", "node-1")[0]
            with socket.create_server(link.upstream, backlog=1), contextlib.ExitStack() as clients:
                # As a paused node: connections wait for it until no more are taken.
                while not [one for one in sockets.dials() if one.remote == link.upstream]:
                    client = socket.create_connection(link.listen, timeout=5)
                    clients.enter_context(client)
                await network.hold("f", {link: effects})
                await network.release("f")
                assert await network.verify() == []
                assert server.replaced == []

    asyncio.run(work())


def test_a_real_server_that_hangs_is_killed(server: Server) -> None:
    async def work() -> None:
        network = Network(
            server.host,
            server.port,
            server.network().links(),
            escape=server.kill,
            deadline_s=0.5,
        )
        await network.open()
        network._resetter = Resetter(None)  # as where sockets cannot be borrowed
        link = network.links("client", "node-1")[0]
        with socket.create_server(link.upstream) as listener:
            client, there = stuff(link, listener)
            with client, there, pytest.raises(BrokenError, match="hung and was killed"):
                await network.hold("f", {link: [Drop()]})
        assert server.process.poll() is not None
        await network.close()

    asyncio.run(work())


def test_a_real_server_that_hangs_is_replaced_with_what_was_held(server: Server) -> None:
    async def work() -> None:
        network = server.network(3)
        network.server.deadline_s = 0.5
        await network.open()
        first = server.process.pid
        link, dropped, rejected, slow, free = network.links()[:5]
        await network.hold("before", {dropped: [Drop()], rejected: [Reject()], slow: [Latency(2)]})
        network._resetter = Resetter(None)  # as where sockets cannot be borrowed
        with socket.create_server(link.upstream) as listener:
            client, there = stuff(link, listener)
            with client, there:
                await network.hold("f", {link: [Latency(1)]})
        assert server.process.pid != first
        assert server.replaced == ["Toxiproxy hung and was replaced: all connections were closed."]
        assert network._resetter.pid == server.process.pid
        assert await network.verify() == []
        async with serving(network.links()):
            assert (await answer(dropped, b"x", SILENCE_S)).kind == "silent"
            assert (await answer(rejected, b"x", 5)).kind == "refused"
            for answers in (link, slow, free):
                assert (await answer(answers, b"x", 5)).kind == "answered"
            await network.release("f")
            await network.release("before")
            assert await network.verify() == []
            for one in network.links():
                assert (await answer(one, b"x", 5)).kind == "answered"
        await network.close()

    asyncio.run(work())


def test_a_release_during_which_the_server_hangs_is_carried_out(server: Server) -> None:
    async def work() -> None:
        network = server.network(3)
        network.server.deadline_s = 0.5
        await network.open()
        link, other = network.links()[:2]
        await network.hold("f", {link: [Latency(1)]})
        await network.hold("g", {other: [Drop()]})
        network._resetter = Resetter(None)
        with socket.create_server(link.upstream) as listener:
            client, there = stuff(link, listener)
            with client, there:
                await network.release("f")
        assert len(server.replaced) == 1
        assert await names(network, link) == set()
        assert len(await names(network, other)) == 2
        assert await network.verify() == []
        await network.close()

    asyncio.run(work())


def test_a_question_to_a_server_that_hangs_is_answered_by_the_next_one(server: Server) -> None:
    async def work() -> None:
        network = server.network(3)
        network.server.deadline_s = 0.5
        await network.open()
        held = network.links()[1]
        await network.hold("f", {held: [Drop("to")]})
        freeze(server)
        assert await network.verify() == []
        assert len(server.replaced) == 1
        assert await names(network, held) == {"drop:timeout:upstream"}
        await network.close()

    asyncio.run(work())


def test_a_server_that_hangs_again_and_again_is_given_up(server: Server) -> None:
    async def work() -> None:
        network = server.network(2)
        network.server.deadline_s = 0.5
        await network.open()
        for _ in range(MAX_REPLACEMENTS):
            freeze(server)
            assert await network.verify() == []
        freeze(server)
        with pytest.raises(BrokenError, match="hung and was killed"):
            await network.verify()
        assert len(server.replaced) == MAX_REPLACEMENTS
        assert server.process.poll() is not None
        with pytest.raises(BrokenError, match="dead"):
            await network.verify()
        await network.close()

    asyncio.run(work())


def test_a_server_that_cannot_be_started_again_is_told(server: Server) -> None:
    async def fail() -> None:
        raise BrokenError("No room.")

    async def work() -> None:
        links = server.network().links()
        network = Network(
            server.host, server.port, links, escape=server.kill, restart=fail, deadline_s=0.2
        )
        await network.open()
        freeze(server)
        with pytest.raises(BrokenError, match="another could not be started") as caught:
            await network.hold("f", {links[0]: [Drop()]})
        assert "No room." in str(caught.value)
        await network.release("f")
        await network.close()

    asyncio.run(work())


def test_a_server_that_was_killed_fails_the_release_once(server: Server) -> None:
    async def work() -> None:
        network = server.network()
        await network.open()
        link = network.links()[0]
        await network.hold("f", {link: [Drop()]})
        await network.hold("g", {link: [Drop()]})
        server.kill()
        await network.release("f")  # nothing to do while g holds the same
        with pytest.raises(FaultError, match="is gone"):
            await network.release("g")
        await network.release("g")
        assert not network.held(link)
        await network.close()

    asyncio.run(work())


def test_closing_leaves_no_thread_and_no_socket_behind(server: Server) -> None:
    async def work() -> None:
        async with opened(server) as network:
            await network.hold("f", {link: [Drop()] for link in network.links()})

    asyncio.run(work())
    ours = (server.host, server.port)
    poll(lambda: not [one for one in sockets.connections() if one.remote == ours])


# A netsplit of five nodes


def test_a_netsplit_cuts_exactly_the_links_it_names(server: Server) -> None:
    async def reachable(network: Network, timeout_s: float) -> set[tuple[str, str]]:
        links = network.links()
        answers = await asyncio.gather(*(answer(link, b"x", timeout_s) for link in links))
        return {
            (link.source, link.node)
            for link, said in zip(links, answers, strict=True)
            if said.kind == "answered"
        }

    async def work() -> None:
        async with opened(server, 5) as network, serving(network.links()):
            nodes = [f"node-{number}" for number in range(1, 6)]
            everybody = {(link.source, link.node) for link in network.links()}
            rng = random.Random(7)
            one_way = netsplit.one_way(["node-1"], ["node-2", "node-3"])
            for cuts in (
                netsplit.isolate(nodes, "node-3"),
                netsplit.halves(nodes),
                netsplit.majorities_ring(nodes, rng),
                netsplit.bridge(nodes, rng),
                one_way,
            ):
                await network.hold("split", netsplit.effects(cuts, network.links()))
                # A question or its answer is lost: in both cases the one who asks hears nothing.
                cut = {*cuts, *((node, source) for source, node in cuts)}
                assert await reachable(network, 0.5) == everybody - cut
                assert await network.verify() == []
                await network.release("split")
                assert await reachable(network, 5) == everybody

            await network.hold("split", netsplit.effects(one_way, network.links(), "reject"))
            assert await reachable(network, 5) == everybody - one_way
            await network.release("split")
            assert await reachable(network, 5) == everybody

    asyncio.run(work())


def test_overlapping_netsplits_heal_apart(server: Server) -> None:
    async def work() -> None:
        async with opened(server, 3) as network, serving(network.links()):
            nodes = ["node-1", "node-2", "node-3"]
            first = netsplit.effects(netsplit.isolate(nodes, "node-1"), network.links())
            second = netsplit.effects(netsplit.isolate(nodes, "node-2"), network.links())
            await network.hold("first", first)
            await network.hold("second", second)
            await network.release("first")
            healed = network.links("node-1", "node-3")[0]
            still = network.links("node-1", "node-2")[0]
            assert (await answer(healed, b"x", 5)).kind == "answered"
            assert (await answer(still, b"x", SILENCE_S)).kind == "silent"
            await network.release("second")
            assert (await answer(still, b"x", 5)).kind == "answered"

    asyncio.run(work())
