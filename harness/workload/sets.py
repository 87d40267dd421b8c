"""A set that only grows: each element is added once, and what was acknowledged must stay."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from harness.errors import UsageError
from harness.units import Duration, seconds
from harness.workload.client import Client
from harness.workload.workload import Observed, Request, Workload


def sets(
    client: type[Client],
    *,
    clients: int = 10,
    rate: float | None = 100,
    read: float = 0.0,
    op_timeout: Duration = seconds(1),
) -> Workload:
    """Whole numbers, each added once in a run: `client` needs `add(element)`, and `read()` that
    answers with the list of all elements, which is asked of every node at the end.

    `read` is the share of reads meanwhile, from 0 to less than 1. Judge the history with `set_()`,
    or, with reads meanwhile, with `set_full()`.
    """
    if not 0 <= read < 1:
        raise UsageError(
            f"sets(read={read}) adds nothing.", do="Give a share from 0 to less than 1."
        )
    for method in ("add", "read"):
        if not callable(getattr(client, method, None)):
            raise UsageError(
                f"Client {client.__name__} has no method {method!r}.",
                do="Define add(element), and read() that answers with all elements.",
            )

    def requests(rng: random.Random, number: int, observed: Observed) -> Iterator[Request]:
        # Client c adds c, c + clients, c + 2·clients …: no element ever comes twice.
        fresh = itertools.count(start=number + 1, step=clients)
        while True:
            if rng.random() < read:
                yield Request("read")
            else:
                yield Request("add", values=(next(fresh),))

    return Workload(
        name="sets",
        client=client,
        requests=requests,
        final=[Request("read")],
        clients=clients,
        rate=rate,
        op_timeout=op_timeout,
        options={"read": read},
    )
