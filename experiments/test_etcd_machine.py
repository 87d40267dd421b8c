"""etcd keeps its registers linearizable under whatever rules and faults Hypothesis combines."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from harness import faults
from harness.check import linearizable
from harness.machine import SEEN, ClusterMachine
from targets.etcd import Etcd, EtcdClient

keys = st.sampled_from(["r1", "r2"])


class Registers(ClusterMachine):
    """Reads, writes and compare-and-sets of two registers by two clients on each node."""

    target = Etcd(nodes=3)
    client = EtcdClient
    faults = (
        faults.kill(),
        faults.pause(who="leader"),
        faults.netsplit("isolate", who="leader"),
        faults.netsplit("one-way"),
    )

    @rule(key=keys)
    def read(self, key):
        self.begin("read", key)

    @rule(key=keys)
    def write(self, key):
        self.begin("write", key, self.fresh())

    @rule(key=keys)
    def cas(self, key):
        self.begin("cas", key, SEEN, self.fresh())

    def check(self):
        self.expect(linearizable("cas-register"))


test_registers = pytest.mark.quick(
    Registers.experiment(examples=6, steps=40, catches={"acknowledges-early": "linearizable"})
)
