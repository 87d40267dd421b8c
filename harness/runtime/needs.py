"""What some faults need of where the nodes run, in words; and where it is to be had.

Nodes that are processes of this machine have none of it: they share the machine's network, memory,
disk and clock.
"""

from __future__ import annotations

PACKETS = "packets"
"""A network of each node's own, in which packets can be dropped."""

PACKET_LOSS = "packet-loss"
"""The same, where the kernel can drop a share of them."""

MEMORY = "memory"
CPU = "cpu"

DISK = "disk"
"""Homes of a bounded size, which can be full. Must be prepared."""

CLOCK = "clock"
"""Clocks that can be moved. Must be prepared."""

NAMES = "names"
"""Names that can stop to resolve."""

NEEDS = (PACKETS, PACKET_LOSS, MEMORY, CPU, DISK, CLOCK, NAMES)

PREPARED = frozenset({DISK, CLOCK})
"""Those that a cluster must be started with: an experiment that injects such faults step by step
says so with `needs=`."""

PROCESSES_LACK = "nodes are processes of this machine here; use --chaos-runtime docker"
"""Why the process runtime has none of them."""
