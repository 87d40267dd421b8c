"""jobs keeps its promises while its workers, its database, its leader and its releases fail.

The promises: what was acknowledged is done once; cron runs once in each window, whoever leads; the
audit log tells of every change; what was deleted is seen by nobody; who is asked to end loses
nothing; and nobody notices a deployment. Declared at the size of two minutes each and carried out
at a twenty-fourth of it, five seconds, unless --chaos-scale says otherwise.
"""

import time

import aiohttp
import pytest

from harness import experiment, faults, k6, milliseconds, minutes, probe, seconds, share
from harness.check import (
    available,
    bounded,
    drained,
    idempotent,
    linearizable,
    retries_bounded,
    slo,
)
from targets.jobs import AccountModel, Jobs, busy_workload, jobs_workload
from targets.jobs.checks import (
    audit_complete,
    cron_windows,
    dead_letters,
    deployments,
    drain,
    limits,
    taken_over,
    unique,
)
from targets.jobs.faults import deploy, edge_kill, edge_pause

pytestmark = pytest.mark.chaos(scale=1 / 24)

QUEUES = {"emails": 5, "images": 2, "sync": 1}
WIDE = {"emails": 12, "images": 6, "sync": 2}
LONG_JOBS = jobs_workload(accounts=0.1, work_ms=500, rate=30)
"""Each worker is in the middle of several jobs at any moment."""

WINDOW = seconds(1)

SWITCH_ERRORS = 0.002
"""What users may notice of a deployment."""


def each(names, fault, every):
    """The fault on one of these, now the one, now the other."""
    return faults.mixed(*(fault(who=name) for name in names), every=every)


WORKERS = ("worker-1", "worker-2", "worker-3")


def expect_done_once(run, *, replays=0):
    run.expect(idempotent(["enqueue"], replays=replays))
    run.expect(dead_letters(attempts=4))
    run.expect(audit_complete())
    run.expect(linearizable(AccountModel()))


async def finished_jobs(look):
    """How many finished jobs procrastinate's own table still holds."""
    async with aiohttp.ClientSession() as session:
        for name in filter(look.serving, look.names):
            base = f"http://{look.host(name)}:8080"
            async with (
                session.get(f"{base}/stats") as stats,
                session.get(f"{base}/unfinished") as n,
            ):
                return max(0, (await stats.json())["jobs"] - (await n.json())["unfinished"])
    return None


async def cron_behind(look):
    """For how many seconds no window of cron has begun that was run. One clock for all: windows are
    numbered by the seconds since the epoch."""
    async with aiohttp.ClientSession() as session:
        for name in filter(look.serving, look.names):
            async with session.get(f"http://{look.host(name)}:8080/cron") as answer:
                runs = await answer.json()
                return time.time() - max(window for _job, window, *_rest in runs) if runs else None
    return None


async def requests_in_flight(look):
    """How many requests the web nodes have accepted and not answered."""
    found = 0
    async with aiohttp.ClientSession() as session:
        for name in filter(look.serving, look.names):
            async with session.get(f"http://{look.host(name)}:8080/metrics") as answer:
                for line in (await answer.text()).splitlines():
                    if line.startswith("jobs_requests_in_flight "):
                        found += int(float(line.split()[1]))
    return found


async def jobs_running(look):
    """How many jobs the workers are in the middle of."""
    found = 0
    async with aiohttp.ClientSession() as session:
        for name in filter(look.serving, WORKERS):
            async with session.get(f"http://{look.host(name)}:8081/role") as answer:
                found += len((await answer.json())["running"])
    return found


@pytest.mark.quick
@pytest.mark.chaos(scale=1 / 28)
@experiment(
    target=Jobs(),
    workload=jobs_workload(work_ms=250, rate=40),
    faults=[faults.kill(who="busiest-worker", every=seconds(1.2), restart_after=milliseconds(400))],
    duration=minutes(2),
    catches={
        "retries-without-limit": "retries_bounded",
        "retries-without-jitter": "retries_bounded",
        "limit-per-worker": "limits",
        "unique-not-unique": "unique",
        "key-not-kept": "dead_letters",
        "effect-before-commit": "idempotent",
        "soft-delete-leaks": "linearizable",
        "audit-can-be-changed": "audit_complete",
    },
)
def test_workers_killed(run):
    """Who is in the middle of the most jobs dies, again and again, and each is done once."""
    expect_done_once(run, replays=1)
    run.expect(taken_over())
    run.expect(limits(QUEUES))
    run.expect(unique())
    run.expect(retries_bounded("job", at_most=2, per_key=4))
    run.expect(available(at_least=0.8))


@experiment(
    target=Jobs(queues=WIDE, stalled_after_s=1),
    workload=LONG_JOBS,
    faults=[faults.pause(who="busiest-worker", at=share(0.2), lasting=share(0.6))],
    duration=minutes(2),
    catches={"no-fencing": "idempotent"},
)
def test_workers_paused(run):
    """A worker that was away for so long that others took its jobs over is back, and too late."""
    expect_done_once(run)
    run.expect(taken_over())


@experiment(
    target=Jobs(queues=WIDE, stalled_after_s=1),
    workload=LONG_JOBS,
    faults=[faults.netsplit("isolate", who="busiest-worker", at=share(0.2), lasting=share(0.6))],
    duration=minutes(2),
    catches={"no-stalled-recovery": "unsteady"},
)
def test_a_worker_cut_off_from_the_database(run):
    """It goes on with what it has, and can write none of it; the others do it."""
    expect_done_once(run)
    run.expect(taken_over())


@pytest.mark.quick
@experiment(
    target=Jobs(lease_s=2.2),  # so long that a window passes with nobody to run it
    workload=jobs_workload(rate=30),
    faults=[edge_kill(window=WINDOW, restart_after=seconds(2), every=seconds(2.4))],
    duration=minutes(2.4),
    steady_state=[probe("cron_behind", cron_behind, at_most=3)],
    catches={
        "cron-without-lock": "cron_windows",
        "cron-never-caught-up": "cron_windows",
        "lease-never-expires": "unsteady",
    },
)
def test_leader_of_cron_killed(run):
    """The leader dies as a window begins; another runs it, and nobody runs it twice."""
    run.expect(cron_windows(every=WINDOW, late=seconds(6), leaders=2))
    expect_done_once(run)


@experiment(
    target=Jobs(),
    workload=jobs_workload(rate=30),
    faults=[edge_pause(window=WINDOW, lasting=seconds(2), every=seconds(2.4))],
    duration=minutes(2.4),
    catches={"cron-without-fence": "cron_windows"},
)
def test_leader_of_cron_paused(run):
    """The leader sleeps over a window, wakes up, and still believes to lead."""
    run.expect(cron_windows(every=WINDOW, late=seconds(6), leaders=2))


@experiment(
    target=Jobs(),
    workload=jobs_workload(),
    faults=[
        faults.kill(who="postgres", at=share(0.15), restart_after=milliseconds(300)),
        faults.pause(who="postgres", at=share(0.45), lasting=share(0.2)),
        faults.restart(who="postgres", at=share(0.8)),
    ],
    duration=minutes(2),
    catches={"commits-not-durable": "idempotent"},
)
def test_postgres_killed_paused_and_restarted(run):
    """What was acknowledged is on the database's disk; everybody finds back to it."""
    expect_done_once(run)
    run.expect(cron_windows(every=WINDOW, late=seconds(10)))
    run.expect(available(at_least=0.2))


@experiment(
    target=Jobs(),
    workload=jobs_workload(accounts=0.8, rate=120),
    faults=[faults.kill(who="random", every=seconds(1.2), restart_after=milliseconds(300))],
    duration=minutes(2),
    catches={"audit-outside-transaction": "audit_complete"},
)
def test_web_nodes_killed(run):
    """No change without its row in the audit log, whenever the power goes."""
    expect_done_once(run)
    run.expect(available(at_least=0.2))


@experiment(
    target=Jobs(retention_s=0.5),
    workload=jobs_workload(accounts=0.1, work_ms=10, rate=80, queues=("emails", "images")),
    faults=[each(WORKERS, lambda who: faults.restart(who=who), every=seconds(1.5))],
    duration=minutes(2),
    steady_state=[probe("finished_jobs", finished_jobs, at_most=150)],
    catches={"finished-jobs-stay": "bounded"},
)
def test_finished_jobs_are_pruned(run):
    """The queue's table does not grow with the jobs that were done."""
    run.expect(bounded("finished_jobs", at_most=150))
    expect_done_once(run)


@pytest.mark.chaos(scale=1 / 40)
@experiment(
    target=Jobs(queues={"emails": 14, "images": 5, "sync": 1}),
    workload=busy_workload(),
    faults=[
        *(
            faults.stop(who=name, at=share(0.2), restart_after=milliseconds(300))
            for name in WORKERS
        ),
        *(
            faults.stop(who=name, at=share(0.5), restart_after=milliseconds(300))
            for name in ("node-1", "node-2")
        ),
    ],
    duration=minutes(2),
    steady_state=[
        probe("in_flight", requests_in_flight, at_least=132),
        probe("running", jobs_running, at_least=17),
    ],
    recovery=seconds(30),
    catches={"drain-drops-work": "drain"},
)
def test_drain_under_load(run):
    """132 requests and 17 jobs are in flight on those that are asked to end; nothing is lost."""
    run.expect(drain(http=132, jobs=17))
    run.expect(drained())
    run.expect(idempotent(["enqueue"], replays=0))


def users():
    """k6: many users, through the gate."""
    return k6("jobs.js", warmup=milliseconds(300))


def expect_nobody_notices(run):
    run.expect(slo("look", errors=SWITCH_ERRORS))
    run.expect(slo("job", errors=SWITCH_ERRORS))
    expect_done_once(run)


@experiment(
    target=Jobs(through_gate=True),
    workload=jobs_workload(clients=6, rate=20),
    load=users(),
    faults=[
        deploy("green", at=share(0.1)),
        faults.stop(who="node-1", at=share(0.7), restart_after=milliseconds(300)),
    ],
    duration=minutes(2),
    catches={"broken-release": "deployments"},
)
def test_blue_green(run):
    """Green takes over from blue, which is asked to end: of all requests 0.2 % may fail."""
    run.expect(deployments(["switched"]))
    expect_nobody_notices(run)


@experiment(
    target=Jobs(through_gate=True, green="never-ready"),
    workload=jobs_workload(clients=6, rate=20),
    load=users(),
    faults=[deploy("green", at=share(0.2))],
    duration=minutes(2),
    catches={"gate-without-health-check": "deployments"},
)
def test_green_is_not_ready(run):
    """The gate does not switch to a release that is not ready."""
    run.expect(deployments(["refused"]))
    expect_nobody_notices(run)


@experiment(
    target=Jobs(through_gate=True, green="fails-later"),
    workload=jobs_workload(clients=6, rate=20),
    load=users(),
    faults=[deploy("green", at=share(0.2))],
    duration=minutes(2),
    catches={"gate-without-health-check": "deployments"},
)
def test_green_fails_under_load(run):
    """A release that passes all tests and fails its users is taken back before they notice."""
    run.expect(deployments(["rolled-back"]))
    expect_nobody_notices(run)
