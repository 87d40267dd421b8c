"""What users of the cluster do: ask for workers, spend their limits, publish; and look."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

from harness import Request, Workload
from harness.units import Duration, seconds
from harness.workload import Observed
from targets.cluster.app.settings import MODES
from targets.cluster.client import ClusterClient

Draw = Callable[[random.Random], Request]


def workers_workload(
    *,
    nodes: int,
    clients: int = 10,
    rate: float = 100,
    workers: int = 9,
    fresh: bool = False,
    requests: float = 0.0,
    mode: str = "approximate",
) -> Workload:
    """Users who have `workers` workers run, again and again on every node, and look at what truly
    runs there; the share `requests` of all ops goes to the limiter in that mode, all for one key.

    The same names are asked for on every side of a netsplit, so that who may claim them depends on
    the plan alone. With `fresh` there are new names all the time, also while the network is cut:
    the n-th that a client asks for is the same for all clients.
    """

    def stream(rng: random.Random, client: int, _observed: Observed) -> Iterator[Request]:
        numbers = itertools.count(1) if fresh else itertools.cycle(range(1, workers + 1))
        for _skipped in range(0 if fresh else client):
            next(numbers)
        while True:
            what, kind = rng.random(), rng.random()
            if what < requests:
                yield Request("request", "orders", (mode,))
            elif kind < 0.4:
                yield Request("ensure", f"worker-{next(numbers)}")
            else:
                yield Request("running")

    return Workload(
        name="workers",
        client=ClusterClient,
        requests=stream,
        final=(
            Request("settled"),
            Request("owners"),
            Request("members"),
            *_of_each(nodes, "running"),
            *_of_each(nodes, "conflicts"),
        ),
        clients=clients,
        rate=rate,
        options={"workers": workers, "fresh": fresh, "requests": requests, "mode": mode},
    )


def limit_workload(
    *,
    mode: str,
    clients: int = 9,
    rate: float = 90,
    keys: int = 1,
    op_timeout: Duration = seconds(1.5),
) -> Workload:
    """Users who ask the limiter, more often than it may admit, for each of `keys` keys."""
    assert mode in MODES

    def stream(rng: random.Random, _client: int, _observed: Observed) -> Iterator[Request]:
        while True:
            yield Request("request", f"key-{rng.randrange(keys) + 1}", (mode,))

    return Workload(
        name=f"{mode} limit",
        client=ClusterClient,
        requests=stream,
        final=[Request("members")],
        clients=clients,
        rate=rate,
        op_timeout=op_timeout,
        options={"mode": mode, "keys": keys},
    )


def topics_workload(
    *, nodes: int, clients: int = 10, rate: float = 80, topics: int = 2, read: float = 0.15
) -> Workload:
    """Users who publish to a few topics through every node, each message with a name of its own,
    and now and then read them."""
    names = [f"topic-{number + 1}" for number in range(topics)]

    def stream(rng: random.Random, client: int, _observed: Observed) -> Iterator[Request]:
        node = f"node-{client % nodes + 1}"
        for number in itertools.count(1):
            topic, reads = rng.choice(names), rng.random() < read
            if reads:
                yield Request("deliver", topic, (node,))
            yield Request("publish", topic, (f"{client}-{number}",))

    final: Sequence[Request] = [
        Request("heads"),
        Request("members"),
        *(Request("deliver", topic, (node,), at=node) for topic in names for node in _names(nodes)),
    ]
    return Workload(
        name="topics",
        client=ClusterClient,
        requests=stream,
        final=final,
        clients=clients,
        rate=rate,
        options={"topics": topics, "read": read},
    )


def _of_each(nodes: int, f: str) -> list[Request]:
    """A final read of every node for itself: with the node as key, since their answers differ."""
    return [Request(f, name, at=name) for name in _names(nodes)]


def _names(nodes: int) -> list[str]:
    return [f"node-{number}" for number in range(1, nodes + 1)]
