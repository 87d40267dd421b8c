"""The stream of one client's requests, as a workload's author wrote it, held to what it must be."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from harness.errors import UsageError, with_place
from harness.workload.workload import Observed, Request, Workload


def endless(
    workload: Workload, rng: random.Random, client: int, observed: Observed
) -> Iterator[Request]:
    """The requests of `client`. Raises `UsageError` where they end, fail, or are none."""
    whose = f"The requests of client {client} of workload {workload.name}"
    try:
        stream = iter(workload.requests(rng, client, observed))
        for count in itertools.count():
            try:
                request = next(stream)
            except StopIteration:
                raise UsageError(
                    f"{whose} ended after {count}.",
                    why="Clients work for as long as the run lasts.",
                    do="Make `requests` an endless stream: put its yields into `while True:`.",
                ) from None
            if not isinstance(request, Request):
                raise UsageError(
                    f"{whose} hold {request!r}, which is no Request.",
                    do='Yield e.g. Request("read", "key-1").',
                )
            yield request
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{whose} failed.",
            why=with_place(error),
            do="`requests(random, client, observed)` must yield Requests, for ever.",
        ) from error
