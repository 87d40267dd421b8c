"""etcd, the stock server: a replicated key-value store on Raft, linearizable unless told otherwise.

Nodes talk to each other by host name, so every link between them can be cut. Clients use the v3
API through its JSON gateway.
"""

from targets.etcd.client import EtcdClient
from targets.etcd.target import Etcd
from targets.etcd.workload import register_workload

__all__ = ["Etcd", "EtcdClient", "register_workload"]
