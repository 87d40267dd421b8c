"""Checks of well-known workloads: what Jepsen's tests of sets, banks, queues … look for.

Each function here makes a check, and its docstring says which ops the workload must record. They
need nothing but the history, so they judge histories of Jepsen and of others as well.
"""

from harness.check.workloads.bank import bank
from harness.check.workloads.causal import causal
from harness.check.workloads.comments import comments
from harness.check.workloads.counter import counter
from harness.check.workloads.long_fork import long_fork
from harness.check.workloads.queues import queue, total_queue
from harness.check.workloads.sequential import sequential
from harness.check.workloads.sessions import (
    monotonic_reads,
    monotonic_writes,
    read_your_writes,
    writes_follow_reads,
)
from harness.check.workloads.set_full import set_full
from harness.check.workloads.sets import set_
from harness.check.workloads.unique_ids import unique_ids

__all__ = [
    "bank",
    "causal",
    "comments",
    "counter",
    "long_fork",
    "monotonic_reads",
    "monotonic_writes",
    "queue",
    "read_your_writes",
    "sequential",
    "set_",
    "set_full",
    "total_queue",
    "unique_ids",
    "writes_follow_reads",
]
