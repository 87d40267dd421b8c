"""The register workload on etcd."""

from __future__ import annotations

from harness import Workload, registers
from targets.etcd.client import EtcdClient


def register_workload(*, keys: int = 5, clients: int = 10, rate: float | None = 200) -> Workload:
    """Reads, unique writes and compare-and-sets over `keys` keys by `clients` clients, which
    together aim at `rate` operations per second."""
    return registers(EtcdClient, keys=keys, clients=clients, rate=rate)
