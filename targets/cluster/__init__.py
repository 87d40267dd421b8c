"""cluster, a service of our own that survives netsplits: workers with one owner each once it is
healed, a rate limit over all nodes in two modes, and topics.

Five members find each other by gossip, keep who owns what in delta CRDTs, and settle conflicts by a
rule that needs nobody's permission; the README beside this file says what each promises. Nine
mutants are wrong in one way each.
"""

from targets.cluster.client import ClusterClient
from targets.cluster.target import Cluster

__all__ = ["Cluster", "ClusterClient"]
