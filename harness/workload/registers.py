"""The classic workload: reads, unique writes and compare-and-sets over a few registers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from harness.errors import UsageError
from harness.units import Duration, seconds
from harness.workload.client import Client
from harness.workload.workload import SEEN, Observed, Request, Workload


def registers(
    client: type[Client],
    *,
    keys: int = 5,
    clients: int = 10,
    rate: float | None = 200,
    read: float = 0.5,
    write: float = 0.25,
    cas: float = 0.25,
    op_timeout: Duration = seconds(1),
) -> Workload:
    """Operations on `keys` registers: `client` needs `read(key)`, `write(key, value)` and, unless
    `cas=0`, `cas(key, expected, new)` that raises `Refused` where it met another value.

    `read`, `write` and `cas` are weights. Each value is written once only in a run, so that every
    read tells which write it saw. A cas expects what its client knows last about the key.
    Judge the history with `linearizable("cas-register")`.
    """
    weights = {"read": read, "write": write, "cas": cas}
    if keys < 1 or min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise UsageError(
            f"registers(keys={keys}, read={read}, write={write}, cas={cas}) asks for nothing.",
            do="Give at least one key, and weights of zero or more of which one is above zero.",
        )
    missing = [f for f, weight in weights.items() if weight > 0 and not hasattr(client, f)]
    if missing:
        raise UsageError(
            f"Client {client.__name__} has no method {missing[0]!r}.",
            do=f"Define it, or set its weight to zero: registers(…, {missing[0]}=0).",
        )
    names = [f"r{number}" for number in range(1, keys + 1)]

    def requests(rng: random.Random, number: int, observed: Observed) -> Iterator[Request]:
        kinds, shares = list(weights), list(weights.values())
        # Client c writes c, c + clients, c + 2·clients …: no value ever comes twice.
        fresh = itertools.count(start=number + 1, step=clients)
        while True:
            kind = rng.choices(kinds, shares)[0]
            key = names[int(rng.random() * keys)]
            if kind == "read":
                yield Request("read", key)
            elif kind == "write":
                yield Request("write", key, (next(fresh),))
            else:
                yield Request("cas", key, (SEEN, next(fresh)))

    return Workload(
        name="registers",
        client=client,
        requests=requests,
        final=[Request("read", name) for name in names],
        clients=clients,
        rate=rate,
        op_timeout=op_timeout,
        options={"keys": keys, "weights": weights},
    )
