"""Redis with Sentinel loses acknowledged writes on a failover, and keeps them where it should.

Nine clients add whole numbers to a set, each through one node, and read it; only the primary takes
adds. At the end, every number whose add was acknowledged must be there. The first three lose some:
replication does not wait, so what a primary acknowledges while it is cut off is thrown away when
it is deposed. There the checks must find the loss, and how long it went on.
"""

import pytest

from harness import experiment, faults, milliseconds, seconds
from harness.check import available, converged, set_full
from targets.redis import Redis, add_workload, loss

CUT_OFF = faults.netsplit("isolate", who="primary", at=seconds(0.2), lasting=seconds(6))
SHORT = seconds(4)
"""With a lag of one second allowed: the primary looks at its replicas once a second, and a replica
that acknowledged 1.9 s ago is late by one."""


@pytest.mark.quick
@experiment(
    target=Redis(nodes=3),
    workload=add_workload(),
    faults=[CUT_OFF],
    duration=seconds(6.3),
)
def test_acknowledged_adds_are_lost(run):
    """A primary that is cut off goes on acknowledging what the failover throws away."""
    run.expect(set_full(), verdict="invalid")
    run.expect(loss(at_most=SHORT), verdict="invalid")
    run.expect(converged(within=seconds(10)))


@experiment(
    target=Redis(nodes=3),
    workload=add_workload(),
    faults=[
        faults.netsplit("isolate", who="primary", every=seconds(11), lasting=seconds(6)),
        faults.mixed(
            faults.kill(who="random", restart_after=milliseconds(300)),
            faults.pause(who="random", lasting=milliseconds(600)),
            faults.latency(
                milliseconds(30),
                latency_jitter=milliseconds(20),
                who="random",
                lasting=seconds(1.5),
            ),
            faults.reset(who="random"),
            every=seconds(3),
        ),
    ],
    duration=seconds(30),
)
def test_acknowledged_adds_are_lost_amid_other_faults(run):
    """The same, where netsplits are some of many faults, and the others are harmless."""
    run.expect(set_full(), verdict="invalid")
    run.expect(converged(within=seconds(10)))


@experiment(
    target=Redis(nodes=3, min_replicas_to_write=1, min_replicas_max_lag_s=1),
    workload=add_workload(),
    faults=[CUT_OFF],
    duration=seconds(6.3),
    catches={"lag-zero": "loss"},
)
def test_less_is_lost_by_a_primary_that_wants_replicas(run):
    """A primary that hears of no replica stops acknowledging: some seconds too late."""
    run.expect(loss(at_most=SHORT))
    run.expect(converged(within=seconds(10)))


@experiment(
    target=Redis(nodes=3, down_after_ms=5000),
    workload=add_workload(),
    faults=[
        faults.kill(who="primary", every=seconds(1.2), restart_after=milliseconds(200)),
    ],
    duration=seconds(4),
    catches={"not-durable": "set-full"},
)
def test_primary_is_back_before_it_is_missed(run):
    """No failover: what the primary acknowledged is on its disk."""
    run.expect(set_full())
    run.expect(converged(within=seconds(5)))


@experiment(
    target=Redis(nodes=3, down_after_ms=1500),
    workload=add_workload(),
    faults=[
        faults.mixed(
            faults.kill(who="node-2", restart_after=milliseconds(300)),
            faults.pause(who="node-3", lasting=seconds(1)),
            faults.netsplit("isolate", who="node-2", lasting=seconds(2)),
            faults.netsplit("one-way", who="node-3", lasting=seconds(2)),
            every=seconds(2.5),
        )
    ],
    duration=seconds(8),
    recovery=seconds(6),
    catches={"replicas-writable": "set-full"},
)
def test_replicas_come_and_go(run):
    """The primary stays, and one Sentinel alone cannot depose it: nothing is lost."""
    run.expect(set_full())
    run.expect(converged(within=seconds(5)))


@experiment(
    target=Redis(nodes=3, min_replicas_to_write=1, min_replicas_max_lag_s=1),
    workload=add_workload(),
    faults=[faults.kill(who="primary", at=seconds(0.2), restart_after=seconds(6))],
    duration=seconds(6.5),
    catches={"no-failover": "available"},
)
def test_another_takes_over(run):
    """A primary that dies is replaced; one that comes back without replicas takes no adds."""
    run.expect(available(at_least=0.17, phase="during"))
    run.expect(loss(at_most=milliseconds(500)))
    run.expect(converged(within=seconds(10)))
