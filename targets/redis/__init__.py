"""Redis with Sentinel, the stock servers: a primary, its replicas, and who decides on a failover.

Replication is asynchronous: what a primary acknowledged is lost if it is deposed before a replica
has it. Nodes talk to each other by host name, so every link between them can be cut.
"""

from targets.redis.client import RedisClient
from targets.redis.loss import loss
from targets.redis.target import Redis
from targets.redis.workload import add_workload

__all__ = ["Redis", "RedisClient", "add_workload", "loss"]
