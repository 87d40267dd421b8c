"""A process that is a member of a mesh and publishes numbers, for tests of what happens to nodes.

    primitives_node.py NAME PORT PEER=PORT …

Everything it says are events on standard output. It ends at SIGTERM, having left.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys

from primitives.membership import Membership
from primitives.mesh import Mesh, Timing
from primitives.pubsub import Gap, Message
from primitives.pubsub.mesh import MeshPubSub
from primitives.telemetry import Metrics, emit

HOST = "127.0.0.1"
PUBLISH_EVERY_S = 0.01


async def main(name: str, port: int, seeds: dict[str, tuple[str, int]]) -> None:
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    metrics = Metrics()
    timing = Timing(ping_s=0.1, dead_s=0.5)
    mesh = Mesh(name, HOST, port, {}, random=random.Random(), metrics=metrics, timing=timing)
    membership = Membership(
        mesh,
        seeds=seeds,
        random=random.Random(),
        metrics=metrics,
        probe_s=0.1,
        suspect_s=0.3,
        host=HOST,
    )
    pubsub = MeshPubSub(mesh, metrics=metrics)
    number = 0

    def got(message: Message) -> None:
        emit("got", publisher=message.publisher, number=message.payload["number"])

    def missed(gap: Gap) -> None:
        emit("missed", publisher=gap.publisher, reason=gap.reason)

    pubsub.subscribe("numbers", got)
    pubsub.on_gap(missed)
    membership.on_change(lambda _: emit("alive", names=sorted(membership.alive)))
    await mesh.start()
    await membership.start()
    await pubsub.start()
    while not ending.is_set():
        number += 1
        await pubsub.publish("numbers", {"number": number})
        await asyncio.sleep(PUBLISH_EVERY_S)
    await pubsub.close()
    await membership.leave()
    await membership.close()
    await mesh.close()
    emit("ended", tasks=len(asyncio.all_tasks()))


if __name__ == "__main__":
    own_name, own_port, *others = sys.argv[1:]
    where = {peer: (HOST, int(at)) for peer, _, at in (other.partition("=") for other in others)}
    asyncio.run(main(own_name, int(own_port), where))
