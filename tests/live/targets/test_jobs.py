"""A real cluster of jobs: its database is killed and keeps what it had, and leaves nothing behind;
its leader is a dependency that faults can find; its clients are told what they should be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from harness import Target, Unavailable, faults
from harness.cluster import Cluster
from harness.parts import find
from targets.jobs import Jobs, JobsClient
from targets.jobs.client import NOT_SO
from targets.jobs.faults import Deploy
from targets.jobs.part import POSTGRES, elsewhere
from targets.jobs.target import DATABASE, LEADER, USER
from tests.support.live_cluster import Live, on_cluster, until

pytestmark = pytest.mark.live

SHARED_MEMORY = Path("/proc/sysvipc/shm")


@dataclass(frozen=True, kw_only=True)
class Database(Jobs):
    """PostgreSQL alone, as the node that clients talk to."""

    @property
    def node_names(self) -> tuple[str, ...]:
        return ("postgres",)

    @property
    def start_groups(self) -> tuple[tuple[str, ...], ...]:
        return (("postgres",),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ports", {"sql": 5432})
        object.__setattr__(self, "dependencies", {})
        Target.__post_init__(self)


def servers() -> list[str]:
    """The first that is found, and the one of the package, which may be another version."""
    try:
        found = [str(find(POSTGRES).path)]
    except Exception:
        return []
    return [*found, *(str(path) for path, where in elsewhere() if "package" in where)][:2]


def segments() -> set[str]:
    """The ids of all System V shared memory that can be seen from here."""
    return {line.split()[1] for line in SHARED_MEMORY.read_text().splitlines()[1:]}


async def rows(cluster: Cluster) -> list[int]:
    host = cluster.client_host("postgres")
    async with await psycopg.AsyncConnection.connect(
        host=host, port=5432, dbname=DATABASE, user=USER, password=USER, connect_timeout=3
    ) as connection:
        cursor = await connection.execute("SELECT number FROM kept ORDER BY number")
        return [row[0] for row in await cursor.fetchall()]


@pytest.mark.parametrize("server", servers())
def test_a_database_that_is_killed_keeps_what_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setenv("POSTGRES_BIN", server)

    async def work(live: Live) -> None:
        cluster = live.cluster
        host = cluster.client_host("postgres")
        async with await psycopg.AsyncConnection.connect(
            host=host, port=5432, dbname=DATABASE, user="jobs_owner", password="jobs_owner"
        ) as connection:
            await connection.execute("CREATE TABLE kept (number integer)")
            await connection.execute(f"GRANT SELECT ON kept TO {USER}".encode())
            await connection.execute("INSERT INTO kept VALUES (1), (2)")
        site = await live.inject(faults.kill(who="postgres"))
        assert len(live.proof()["gone"]["postgres"]) > 3  # the program, the server, its own
        await live.nemesis.heal(site)
        await until(lambda: serves(cluster), 30.0)
        assert await rows(cluster) == [1, 2]
        assert "database system was not properly shut down" in cluster.log_tail("postgres", 100)
        assert await cluster.stop("postgres", "test") == "exit status 0"

    before = segments()
    on_cluster(tmp_path, work, target=Database())
    assert segments() <= before


async def serves(cluster: Cluster) -> bool:
    return cluster.serving("postgres")


def test_jobs_and_accounts_and_a_deployment(tmp_path: Path) -> None:
    target = Jobs(through_gate=True)

    async def work(live: Live) -> None:
        cluster = live.cluster
        user = JobsClient(target, "gate", cluster.client_host("gate"))
        ledger = JobsClient(target, "postgres", cluster.client_host("postgres"))
        try:
            await user.open()
            await ledger.open()
            await a_job_is_done_once(user, ledger)
            await a_deleted_account_is_gone_until_it_is_restored(user)
            await nobody_can_change_the_audit_log(ledger)
            (leader,) = await cluster.holders(LEADER)
            assert leader in target.worker_names
            await live.inject(Deploy(to="green"), id="f2")
            assert live.proof("f2")["said"]["active"] == "green"
            assert await user.get("account-01") == "r1"
            assert cluster.strays() == {}
        finally:
            await user.close()
            await ledger.close()

    on_cluster(tmp_path, work, target=target)


async def a_job_is_done_once(user: JobsClient, ledger: JobsClient) -> None:
    assert await user.enqueue("j1", "emails", {"work_ms": 5}) == "j1"
    assert await user.enqueue("j1", "emails", {"work_ms": 5}) == "j1"
    assert await user.wait("j1", 5.0) == "done"
    assert await ledger.unfinished() == 0
    assert [row[0] for row in await ledger.effects()] == ["j1"]
    await user.enqueue("j2", "emails", {"work_ms": 5}, 30.0)
    with pytest.raises(Unavailable, match="1 jobs are still to be done"):
        await ledger.unfinished()


async def a_deleted_account_is_gone_until_it_is_restored(user: JobsClient) -> None:
    account = "account-01"
    assert await user.create(account, "r1") == "r1"
    assert await user.delete(account, "r2") == "r1"
    assert await user.rename(account, "r3") == NOT_SO
    assert await user.get(account) is None
    assert await user.listed(account) is None
    assert await user.found(account, "r1") is None
    assert await user.counted(account) == 0
    assert await user.restore(account, "r4") == "r1"
    assert await user.found(account, "r1") == "r1"


async def nobody_can_change_the_audit_log(ledger: JobsClient) -> None:
    told = await ledger.tamper()
    assert [outcome for _who, _how, outcome in told] == ["refused"] * 6
    assert ["account.deleted", "account-01", "workload", "r2"] in await ledger.audit()
