"""Acknowledged adds to a set on Redis."""

from __future__ import annotations

from harness import Workload
from harness.workload import sets
from targets.redis.client import RedisClient


def add_workload(*, clients: int = 9, rate: float | None = 240, read: float = 0.1) -> Workload:
    """Whole numbers, each added once, and reads of all of them (a share of `read`), by `clients`
    clients which together aim at `rate` operations per second.

    As each client talks to one node, and only the primary takes adds, those of the other nodes'
    clients are refused: of three nodes a third of the adds can be acknowledged.
    """
    return sets(RedisClient, clients=clients, rate=rate, read=read)
