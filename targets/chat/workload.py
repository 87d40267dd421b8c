"""People who write to each other, who come and go, and who ask the assistant."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from harness import Request, Workload
from harness.units import Duration, milliseconds
from harness.workload import Observed
from targets.chat.client import ChatClient
from targets.chat.letters import letter, question, user_of

TYPING = 0.02
"""The share of typing indicators, out of that of taking what has come."""

LONGEST_VISIT = 24
"""How many looks around a visit may last."""


def chat_workload(
    *,
    clients: int = 12,
    sockets: int = 4,
    rate: float | None = 120,
    publish: float = 0.5,
    visits: float = 0.0,
    asks: float = 0.0,
    again: float = 0.1,
    body_bytes: int = 40,
    watched: int = 2,
    op_timeout: Duration = milliseconds(2500),
) -> Workload:
    """`clients` people, each a member of the same `sockets` rooms with a WebSocket for each, who
    together do `rate` operations per second.

    Of the operations, the share `publish` sends a message of `body_bytes` characters (`again` of
    them twice with the same id), `visits` enter and leave the first `watched` rooms or look who is
    there, `asks` ask the assistant, and the others take what has come. In the end the nodes say all
    that they have of every room, and then every member takes what has come to it.
    """
    topics = [f"room:{number}" for number in range(sockets)]
    looked_at = topics[:watched] if visits else []

    def requests(random: random.Random, client: int, observed: Observed) -> Iterator[Request]:
        user = user_of(client)
        yield Request("attend", None, (topics, user, looked_at, body_bytes))
        visit = _visits(random, client, looked_at)
        number, turn = 0, random.randrange(sockets)
        while True:
            kind, topic = random.random(), topics[random.randrange(sockets)]
            twice = random.random() < again
            number += 1
            if kind < publish:
                yield Request("publish", topic, (letter(client, number, again=twice),))
            elif kind < publish + visits:
                yield next(visit)
            elif kind < publish + visits + asks:
                yield Request("ask", topic, (question(client, number),))
            elif kind > 1 - TYPING:
                yield Request("typing", topic, (user, twice))
            else:
                turn = (turn + 1) % sockets
                yield Request("deliver", topics[turn], (user,))

    def own_final(client: int) -> Sequence[Request]:
        user = user_of(client)
        taken = [Request("deliver", topic, (user,)) for topic in topics]
        return [*taken, *(Request("streams", topic, (user,)) for topic in topics if asks)]

    return Workload(
        name="chat",
        client=ChatClient,
        requests=requests,
        final=[
            Request("quiet"),
            Request("have"),
            *(Request("history", topic) for topic in topics),
            *(Request("presence", topic) for topic in looked_at),
        ],
        own_final=own_final,
        clients=clients,
        rate=rate,
        op_timeout=op_timeout,
        options={"sockets": clients * sockets, "body_bytes": body_bytes},
    )


def _visits(random: random.Random, client: int, topics: Sequence[str]) -> Iterator[Request]:
    """Enters a room, looks around for a while, and leaves it, for ever."""
    user, member = f"v{client}", user_of(client)
    while True:
        topic = random.choice(topics)
        looks = [Request("present", one, (member,)) for one in topics]
        yield Request("enter", topic, (user,))
        for _ in range(random.randrange(LONGEST_VISIT)):
            yield random.choice(looks)
        yield Request("leave", topic, (user,))
        for _ in range(random.randrange(LONGEST_VISIT // 2)):
            yield random.choice(looks)
