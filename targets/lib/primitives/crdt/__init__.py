"""Delta-state CRDTs and their replication over a mesh.

`Dots` are causal contexts, `AWMap` is the map built on them, `Replicator` spreads its deltas, and
`View` shows it without what belongs to dead nodes.

What holds of every type here, and is tested with Hypothesis: merging is commutative, associative
and idempotent; a map that merged all deltas of others, in any order and any number of times, equals
one that merged their full states; JSON there and back changes nothing.
"""

from .awmap import AWMap, Delta, Key, parse_replica, replica_id
from .dots import Dot, Dots
from .replicator import Replicator
from .view import View, alive_of

__all__ = [
    "AWMap",
    "Delta",
    "Dot",
    "Dots",
    "Key",
    "Replicator",
    "View",
    "alive_of",
    "parse_replica",
    "replica_id",
]
