"""cluster keeps its promises while its network is cut and its nodes come and go.

The promises: both sides of a netsplit go on, and afterwards every worker has one owner, which the
rule alone decides; the strict limit is never exceeded, and refuses where it cannot be sure; the
approximate one is available everywhere and keeps to its error; topics reach every node. Declared at
the size of the source (a netsplit of 32 s), and carried out at an eighth of it unless --chaos-scale
says otherwise.
"""

import pytest
from primitives.limiter import error_bound

from harness import experiment, faults, k6, milliseconds, probes, seconds, share
from harness.check import available, converged, rate_limit
from targets.cluster import Cluster
from targets.cluster.app.settings import BURST
from targets.cluster.everywhere import everywhere
from targets.cluster.limits import admitted, fails_fast, of_load
from targets.cluster.on_redis import ClusterOnRedis
from targets.cluster.owners import journaled, one_owner
from targets.cluster.workload import limit_workload, topics_workload, workers_workload

pytestmark = pytest.mark.chaos(scale=1 / 8)

BUDGET = seconds(32)
"""What the source allowed from the healing on. A second is enough where nothing else runs."""

SETTLED = seconds(4)
"""So long after a fault some worker may still have two owners."""

BEFORE = milliseconds(800)
STEADY = [probes.error_rate(at_most=0.05)]


@pytest.mark.quick
@experiment(
    target=Cluster(nodes=3, limit=60),
    workload=workers_workload(nodes=3, clients=9, rate=90),
    load=k6("cluster.js", warmup=milliseconds(300), env={"MODE": "approximate", "RATE": 240}),
    faults=[
        faults.netsplit(
            "groups", groups=[["node-1"], ["node-2", "node-3"]], at=share(0.05), lasting=share(0.8)
        )
    ],
    duration=seconds(40),
    before=BEFORE,
    steady_state=STEADY,
    catches={
        "first-met-wins": "one_owner",
        "journal-forgets-losers": "journaled",
        "approximate-ignores-peers": "admitted",
    },
    may_catch={"no-anti-entropy": "one_owner"},
)
def test_netsplit_lab(run):
    """One of three nodes is cut off, and both sides go on; afterwards nothing is left of it."""
    run.expect(one_owner(within=SETTLED, contested=3, at_home=True))
    run.expect(journaled(at_least=3))
    run.expect(converged(within=BUDGET))
    run.expect(available(at_least=0.97, phase="during"))
    run.expect(of_load(admitted(per_node=20)))
    run.expect(of_load(rate_limit(60, per=seconds(1), error=error_bound(60, 3, BURST))))


@experiment(
    target=Cluster(nodes=5),
    workload=workers_workload(nodes=5, clients=10, rate=120, fresh=True),
    faults=[faults.netsplit("majorities-ring", at=share(0.05), lasting=share(0.85))],
    duration=seconds(32),
    before=BEFORE,
    steady_state=STEADY,
    catches={"no-anti-entropy": "converged"},
)
def test_majorities_ring(run):
    """Each node sees another majority: all are alive by hearsay, and what one node cannot tell
    another reaches it through a third."""
    run.expect(one_owner(within=SETTLED))
    run.expect(converged(within=BUDGET))
    run.expect(available(at_least=0.97, phase="during"))


@experiment(
    target=Cluster(nodes=5, limit=50),
    workload=workers_workload(nodes=5, clients=10, rate=250, requests=0.6),
    faults=[faults.netsplit("one-way", who="random", at=share(0.05), lasting=share(0.85))],
    duration=seconds(36),
    before=BEFORE,
    steady_state=STEADY,
    catches={"loser-keeps-running": "one_owner"},
    may_catch={"no-anti-entropy": "one_owner"},
)
def test_one_way_cut(run):
    """Nobody hears one node, which hears everybody: both ways count as cut."""
    run.expect(one_owner(within=SETTLED, contested=1))
    run.expect(rate_limit(50, per=seconds(1), error=error_bound(50, 5, BURST)))
    run.expect(converged(within=BUDGET))
    run.expect(available(at_least=0.97, phase="during"))


@experiment(
    target=Cluster(nodes=5),
    workload=workers_workload(nodes=5, clients=10, rate=120),
    faults=[
        faults.kill(who="node-2", at=share(0.05), restart_after=share(0.55)),
        faults.kill(who="node-5", at=share(0.15), restart_after=share(0.6)),
        faults.stop(who="node-3", at=share(0.85), restart_after=share(0.05)),
    ],
    duration=seconds(60),
    before=BEFORE,
    steady_state=STEADY,
    catches={"dead-keep-workers": "one_owner"},
    may_catch={"no-anti-entropy": "one_owner"},
)
def test_churn(run):
    """Nodes go for good, as far as the others can tell, and others come in their place."""
    run.expect(one_owner(within=SETTLED, takeover=seconds(3.5)))
    run.expect(converged(within=BUDGET))
    run.expect(available(at_least=0.55))


@experiment(
    target=Cluster(nodes=5, limit=50),
    workload=workers_workload(nodes=5, clients=10, rate=250, requests=0.6),
    faults=[
        faults.latency(
            milliseconds(150),
            latency_jitter=milliseconds(50),
            who="all",
            at=share(0.05),
            lasting=share(0.85),
        )
    ],
    duration=seconds(28),
    before=BEFORE,
    steady_state=STEADY,
    catches={"approximate-ignores-peers": "rate_limit"},
)
def test_slow_links(run):
    """A slow network is no dead one: nobody loses a worker, and late reports cost no budget."""
    run.expect(one_owner(within=SETTLED, at_home=True, most_moves=0))
    run.expect(rate_limit(50, per=seconds(1), error=error_bound(50, 5, BURST)))
    run.expect(converged(within=BUDGET))
    run.expect(available(at_least=0.97))


@pytest.mark.quick
@experiment(
    target=Cluster(nodes=3, limit=45),
    workload=limit_workload(mode="strict"),
    faults=[
        faults.netsplit("isolate", who="limiter-leader", at=share(0.05), lasting=share(0.9)),
    ],
    duration=seconds(40),
    before=BEFORE,
    steady_state=STEADY,
    catches={"strict-without-lease": "rate_limit"},
)
def test_strict_limit_leader_cut_off(run):
    """Who is cut off refuses at once, also if it was the leader; the others go on."""
    run.expect(rate_limit(45, per=seconds(1)))
    run.expect(fails_fast(nodes=1, within=seconds(1)))
    run.expect(converged(within=BUDGET))


@experiment(
    target=Cluster(nodes=3, limit=45),
    workload=limit_workload(mode="strict"),
    faults=[
        faults.stop(
            who="limiter-leader",
            at=[share(0.05), share(0.25), share(0.45)],
            restart_after=share(0.05),
        ),
        faults.kill(who="limiter-leader", at=share(0.65), restart_after=share(0.05)),
        faults.pause(who="limiter-leader", at=share(0.85), lasting=share(0.1)),
    ],
    duration=seconds(72),
    before=BEFORE,
    steady_state=STEADY,
    catches={"limiter-forgets-on-failover": "rate_limit"},
)
def test_strict_limit_leaders_come_and_go(run):
    """A new leader does not know what the last one admitted, and waits until it need not."""
    run.expect(rate_limit(45, per=seconds(1)))
    run.expect(converged(within=BUDGET))


CUT_TOPICS = faults.netsplit("isolate", who="node-1", at=share(0.05), lasting=share(0.7))


@experiment(
    target=Cluster(nodes=3),
    workload=topics_workload(nodes=3),
    faults=[CUT_TOPICS],
    duration=seconds(24),
    before=BEFORE,
    steady_state=STEADY,
    catches={"no-catch-up": "everywhere"},
)
def test_topics_over_the_mesh(run):
    """What was published on either side of a netsplit reaches both, once and in order."""
    run.expect(everywhere())
    run.expect(converged(within=BUDGET))
    run.expect(available(at_least=0.97))


@experiment(
    target=ClusterOnRedis(nodes=3),
    workload=topics_workload(nodes=3),
    faults=[CUT_TOPICS],
    duration=seconds(24),
    before=BEFORE,
    steady_state=STEADY,
    catches={"no-catch-up": "everywhere"},
)
def test_topics_through_redis(run):
    """The same, with the other way for messages: a node is cut off from Redis as well."""
    run.expect(everywhere())
    run.expect(converged(within=BUDGET))
    run.expect(available(at_least=0.97))
