"""Redis with Sentinel loses acknowledged adds: rules that Hypothesis combines find it as well.

What a primary acknowledges while it is cut off is thrown away once another one was promoted.
"""

from hypothesis.stateful import precondition, rule

from harness import Request, Unavailable, faults, seconds
from harness.check import set_full
from harness.machine import ClusterMachine
from targets.redis import Redis, RedisClient
from targets.redis.client import KEY, ResponseError, send


class OneSet(RedisClient):
    """Clients that can also empty the set."""

    async def clear(self):
        try:
            await send(self._redis, "DEL", KEY)
        except ResponseError as error:
            raise Unavailable(error) from error


class Adds(ClusterMachine):
    """Adds to one set, and reads of it, while primaries are cut off."""

    target = Redis(nodes=3)
    client = OneSet
    final = (Request("read"),)
    faults = (faults.netsplit("isolate", who="primary"),)
    faults_at_once = 1

    @rule()
    def add(self):
        for node in self.target.node_names:
            self.begin("add", None, self.fresh(), node=node)

    @rule()
    def read(self):
        self.begin("read")

    @precondition(lambda self: self.in_force)
    @rule()
    def wait(self):
        """Two or three of these, and another primary is promoted."""
        self.let_time_pass(seconds(1))

    def reset(self):
        for node in self.target.node_names:
            self.op("clear", node=node)

    def check(self):
        self.expect(set_full(), verdict="invalid")


test_adds = Adds.experiment(examples=10, steps=20)
