"""The register workload on etcd."""

from __future__ import annotations

from harness import Workload, registers
from targets.etcd.client import EtcdClient


def register_workload(
    *, keys: int = 5, clients: int = 10, rate: float | None = 200, reads: float = 0.5
) -> Workload:
    """Reads (that share of the operations), and as many unique writes as compare-and-sets, over
    `keys` keys by `clients` clients, which together aim at `rate` operations per second."""
    changes = (1 - reads) / 2
    return registers(
        EtcdClient, keys=keys, clients=clients, rate=rate, read=reads, write=changes, cas=changes
    )
