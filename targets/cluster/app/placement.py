"""Which node a worker belongs to: rendezvous hashing.

Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998): each pair of
worker and node has a weight of its own, and the node with the greatest one is chosen. All who know
the same nodes choose the same one with nothing to agree on, and when a node goes, only its own
workers move.

The same order decides between several nodes that claim a worker. It depends on their names alone:
not on clocks, not on who was heard first, not on how often they met. So the owner after a netsplit
is the same whatever way the claims travel.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def weight(worker: str, node: str) -> int:
    """64 bits that everybody computes alike."""
    digest = blake2b(f"{worker}\0{node}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def ranked(worker: str, nodes: Iterable[str]) -> list[str]:
    """The nodes, the one that the worker belongs to first; equal weights in order of their
    names."""
    return sorted(nodes, key=lambda node: (-weight(worker, node), node))


def best(worker: str, nodes: Iterable[str]) -> str | None:
    """The node that the worker belongs to; None if there are none."""
    return min(nodes, key=lambda node: (-weight(worker, node), node), default=None)
