"""chat keeps what it acknowledged, in order and once, while nodes, links and sockets fail.

Every member of a room gets every acknowledged message once, the messages of one person in their
order; whoever was away catches up; every node shows the same history in the end; who is there is
known everywhere within two seconds; and no answer of the assistant is ever silently short. Declared
at a minute each and carried out at a tenth of it, unless --chaos-scale says otherwise;
CHAT_SOCKETS=5000 is the full size of those that are about sockets.
"""

import os

import aiohttp
import pytest

from harness import experiment, faults, k6, milliseconds, minutes, probe, probes, seconds, share
from harness.check import available, bounded, converged, delivery, drained
from targets.chat import Chat, chat_workload, kept, presence, streams
from targets.chat.channels import PORT
from targets.chat.client import metric

pytestmark = pytest.mark.chaos(scale=1 / 10)

SOCKETS = int(os.environ.get("CHAT_SOCKETS", "500"))
ROOMS = 25 if SOCKETS <= 500 else 50

STEADY = [probes.error_rate(at_most=0.2)]
RECOVERY = seconds(8)
TO_CONNECT = seconds(15 * max(1, SOCKETS / 1000))
"""Within this time the crowd has to be there, and to be back."""

QUEUE_BYTES = 128 * 1024
SLOW_SOCKETS = 2  # a third of six people, in one room
MOST_WAITING = 1.5 * QUEUE_BYTES
"""For one socket. A page of history counts as much as the bound, and is sent all the same."""


def crowd(**options):
    """Python members who hold all the sockets, each of them in every room."""
    return chat_workload(clients=SOCKETS // ROOMS, sockets=ROOMS, op_timeout=seconds(5), **options)


def groups(**variables):
    """k6: groups who meet for a second or two, and measure how long a message takes to all."""
    return k6("chat.js", warmup=milliseconds(300), env=variables)


def expect_conversation(run):
    """Nobody missed, heard twice or heard out of order what was acknowledged; all nodes agree."""
    run.expect(delivery())
    run.expect(kept())
    run.expect(converged(within=seconds(10)))


async def outgoing_bytes(look):
    """The most that waits for the sockets of any node."""
    waiting = []
    for name in look.names:
        if look.serving(name):
            async with aiohttp.ClientSession(f"http://{look.address(name)}:{PORT}") as session:
                waiting.append(await metric(session, "chat_outgoing_bytes"))
    return max(waiting, default=None)


@pytest.mark.quick
@experiment(
    target=Chat(nodes=3),
    workload=crowd(rate=100),
    load=groups(),
    faults=[faults.kill(who="random", at=share(0.15), restart_after=milliseconds(700))],
    duration=minutes(1),
    recovery=TO_CONNECT,
    steady_state=STEADY,
    catches={"duplicate-on-retry": "delivery"},
)
def test_node_killed_under_500_sockets(run):
    """A third of the sockets end at once; their people come back and have missed nothing."""
    expect_conversation(run)
    run.expect(available(at_least=0.5))


@experiment(
    target=Chat(nodes=3),
    workload=chat_workload(rate=200, publish=0.8),
    faults=[faults.kill(who="random", every=seconds(1.3), restart_after=milliseconds(300))],
    duration=minutes(1),
    recovery=RECOVERY,
    steady_state=STEADY,
    catches={"ack-before-write": "kept"},
)
def test_nodes_killed_again_and_again(run):
    """What a node has acknowledged it still has when it is back."""
    expect_conversation(run)


@experiment(
    target=Chat(nodes=3),
    workload=chat_workload(visits=0.6, publish=0.25, rate=150),
    faults=[faults.netsplit("isolate", who="random", at=share(0.1), lasting=share(0.3))],
    duration=minutes(1),
    recovery=RECOVERY,
    steady_state=STEADY,
    catches={"no-anti-entropy": "kept", "order-by-arrival": "delivery"},
)
def test_netsplit_between_nodes(run):
    """Both sides go on. Healed, all have all of it, and everybody is seen again."""
    expect_conversation(run)
    run.expect(presence(within=seconds(2)))
    run.expect(available(at_least=0.95))


@experiment(
    target=Chat(nodes=3),
    workload=chat_workload(visits=0.6, publish=0.25, rate=150),
    faults=[faults.kill(who="random", at=share(0.1), restart_after=share(0.5))],
    duration=minutes(1),
    recovery=RECOVERY,
    steady_state=STEADY,
    catches={"presence-never-removed": "presence"},
)
def test_users_of_a_dead_node_are_gone(run):
    """Two seconds after a node has died nobody sees those who were on it."""
    expect_conversation(run)
    run.expect(presence(within=seconds(2)))


@experiment(
    target=Chat(nodes=3),
    workload=crowd(rate=100),
    faults=[faults.reset(who="all", links="clients", at=[share(0.15), share(0.55)])],
    duration=minutes(1),
    recovery=TO_CONNECT,
    steady_state=STEADY,
    catches={"no-catch-up": "delivery"},
)
def test_reconnect_storm(run):
    """All sockets of all nodes are reset at once, again and again."""
    expect_conversation(run)
    run.expect(available(at_least=0.5))


@experiment(
    target=Chat(nodes=3),
    workload=chat_workload(rate=150),
    faults=[
        faults.netsplit("isolate", who="node-1", at=share(0.1), lasting=share(0.3)),
        faults.reset(who="all", links="clients", at=[share(0.3), share(0.45)]),
    ],
    duration=minutes(1),
    recovery=RECOVERY,
    steady_state=STEADY,
    catches={"cursor-off-by-one": "delivery"},
)
def test_reconnect_while_nodes_are_apart(run):
    """Who comes back during a netsplit is owed what the other side says, and has said."""
    expect_conversation(run)


@experiment(
    target=Chat(nodes=3, queue_bytes=QUEUE_BYTES),
    workload=chat_workload(clients=6, sockets=1, rate=200, body_bytes=8000, publish=0.85),
    faults=[faults.bandwidth(2, who="node-2", links="clients", at=share(0.1), lasting=share(0.65))],
    duration=minutes(1),
    recovery=seconds(12),
    steady_state=[probe("outgoing_bytes", outgoing_bytes, at_most=4_000_000)],
    catches={"unbounded-queue": "bounded"},
)
def test_slow_consumers(run):
    """Sockets that take less than they are sent are closed; their people catch up when they can."""
    expect_conversation(run)
    run.expect(bounded("outgoing_bytes", at_most=SLOW_SOCKETS * MOST_WAITING))


@pytest.mark.quick
@experiment(
    target=Chat(nodes=3),
    workload=chat_workload(clients=9, sockets=2, rate=60, asks=0.15),
    faults=[
        faults.kill(who="node-1", at=share(0.1), restart_after=milliseconds(500)),
        faults.reset(who="node-2", at=[share(0.3), share(0.4)]),
        faults.netsplit("isolate", who="node-3", at=share(0.45), lasting=share(0.25)),
        faults.reset(who="all", links="clients", at=share(0.6)),
    ],
    duration=minutes(1),
    recovery=RECOVERY,
    steady_state=STEADY,
    catches={"stream-silently-short": "streams", "token-gaps": "streams"},
)
def test_assistant_cut_in_mid_stream(run):
    """Whatever ends while the assistant talks: everybody gets all of it, or is told."""
    expect_conversation(run)
    run.expect(streams(lasting=seconds(0.5)))


@experiment(
    target=Chat(nodes=3, adapter="redis"),
    workload=chat_workload(rate=150),
    faults=[
        faults.netsplit("isolate", who="redis", at=share(0.1), lasting=share(0.2)),
        faults.kill(who="redis", at=share(0.45), restart_after=milliseconds(500)),
    ],
    duration=minutes(1),
    recovery=RECOVERY,
    steady_state=STEADY,
    catches={"no-anti-entropy": "kept"},
)
def test_redis_between_the_nodes_fails(run):
    """With Redis as the way between nodes: it is only a way, and nothing is lost with it."""
    expect_conversation(run)
    run.expect(available(at_least=0.95))


@experiment(
    target=Chat(nodes=3),
    workload=chat_workload(rate=150),
    faults=[faults.stop(who="random", every=seconds(1.5), restart_after=milliseconds(300))],
    duration=minutes(1),
    recovery=RECOVERY,
    steady_state=STEADY,
    catches={"no-catch-up": "delivery"},
)
def test_nodes_restarted(run):
    """A node that is told to end finishes what it has begun, and sends its people away politely."""
    expect_conversation(run)
    run.expect(drained())
