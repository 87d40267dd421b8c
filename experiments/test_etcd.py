"""etcd keeps its registers linearizable, whatever is done to its nodes and their links."""

import pytest

from harness import experiment, faults, seconds
from harness.check import available, converged, linearizable
from targets.etcd import Etcd, register_workload


def expect_linearizable(run, *, availability: float) -> None:
    run.expect(linearizable("cas-register"))
    run.expect(available(at_least=availability))
    run.expect(converged(within=seconds(5)))


@pytest.mark.quick
@experiment(
    target=Etcd(nodes=3),
    workload=register_workload(),
    faults=[faults.netsplit("isolate", who="leader", every=seconds(3), lasting=seconds(2))],
    duration=seconds(6),
)
def test_leader_cut_off(run):
    expect_linearizable(run, availability=0.5)
