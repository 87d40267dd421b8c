"""Seeded operations by concurrent clients, recorded as they happen."""

from harness.workload.client import Client, Refused, Unavailable
from harness.workload.registers import registers
from harness.workload.sets import sets
from harness.workload.workload import SEEN, Observed, Request, Workload

__all__ = [
    "SEEN",
    "Client",
    "Observed",
    "Refused",
    "Request",
    "Unavailable",
    "Workload",
    "registers",
    "sets",
]
