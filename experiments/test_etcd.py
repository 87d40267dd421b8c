"""etcd keeps its registers linearizable, whatever is done to its nodes and their links.

Each experiment drives a real cluster with ten clients that read, write and compare-and-set five
registers, each client through one node. The last one reads in a way that etcd offers and that is
not linearizable: there the check must find the stale read.
"""

import pytest

from harness import experiment, faults, milliseconds, seconds
from harness.check import available, converged, linearizable
from targets.etcd import Etcd, register_workload

CATCHES = {"acknowledges-early": "linearizable"}


def expect_linearizable(run, *, availability):
    run.expect(linearizable("cas-register"))
    run.expect(available(at_least=availability))
    run.expect(converged(within=seconds(5)))


@pytest.mark.quick
@experiment(
    target=Etcd(nodes=3),
    workload=register_workload(),
    faults=[faults.netsplit("isolate", who="leader", every=seconds(2), lasting=seconds(2))],
    duration=seconds(4.5),
    catches=CATCHES,
)
def test_leader_cut_off(run):
    """A leader that is cut off must not serve stale reads, nor accept writes that get lost."""
    expect_linearizable(run, availability=0.5)


@experiment(
    target=Etcd(nodes=3),
    workload=register_workload(),
    faults=[faults.netsplit("random-halves", how="reject", every=seconds(2), lasting=seconds(1.3))],
    duration=seconds(4),
    catches=CATCHES,
)
def test_random_halves(run):
    """The majority goes on, the minority refuses, and both agree afterwards."""
    expect_linearizable(run, availability=0.5)


@pytest.mark.quick
@experiment(
    target=Etcd(nodes=5),
    workload=register_workload(),
    faults=[faults.netsplit("majorities-ring", at=seconds(0.8), lasting=seconds(2.5))],
    duration=seconds(4),
    catches=CATCHES,
)
def test_majorities_ring(run):
    """Every node sees a majority, no two see the same one: two leaders must not be possible."""
    expect_linearizable(run, availability=0.2)


@experiment(
    target=Etcd(nodes=3),
    workload=register_workload(),
    faults=[faults.netsplit("one-way", who="leader", every=seconds(2), lasting=seconds(1.3))],
    duration=seconds(4),
    catches=CATCHES,
)
def test_leader_that_nobody_hears(run):
    """The leader hears its followers, but they do not hear it."""
    expect_linearizable(run, availability=0.4)


@pytest.mark.quick
@experiment(
    target=Etcd(nodes=3),
    workload=register_workload(),
    faults=[
        faults.kill(who="random", every=seconds(1.3), restart_after=milliseconds(400)),
    ],
    duration=seconds(4),
    catches=CATCHES,
)
def test_kill_and_restart(run):
    """What was acknowledged survives the death of any one node."""
    expect_linearizable(run, availability=0.5)


@experiment(
    target=Etcd(nodes=3),
    workload=register_workload(),
    faults=[faults.pause(who="leader", every=seconds(2), lasting=seconds(1.3))],
    duration=seconds(4),
    catches=CATCHES,
)
def test_old_leader_wakes_up(run):
    """A paused leader wakes up believing that it still leads; nobody may believe it."""
    expect_linearizable(run, availability=0.4)


@experiment(
    target=Etcd(nodes=3),
    workload=register_workload(),
    faults=[
        faults.latency(
            milliseconds(60),
            latency_jitter=milliseconds(40),
            who="all",
            at=seconds(0.8),
            lasting=seconds(2.5),
        )
    ],
    duration=seconds(4),
    catches=CATCHES,
)
def test_slow_links(run):
    """Slow, uneven links cost time and nothing else."""
    expect_linearizable(run, availability=0.8)


@pytest.mark.quick
@experiment(
    target=Etcd(nodes=3, stale_reads=True),
    # Whoever writes through the member that is cut off waits until it times out, and reads no more.
    workload=register_workload(reads=0.9),
    faults=[faults.netsplit("isolate", who="random", at=seconds(0.8), lasting=seconds(2.5))],
    duration=seconds(4),
)
def test_serializable_reads_are_stale(run):
    """A member that is cut off answers serializable reads from what it last knew."""
    run.expect(linearizable("cas-register"), verdict="invalid")
    run.expect(converged(within=seconds(5)))
