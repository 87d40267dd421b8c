"""Labels and leases: whose something on an engine is, and whether that one is gone."""

from __future__ import annotations

import os
import subprocess

import pytest

from harness.runtime import ledger
from harness.runtime.docker import labels
from harness.runtime.docker.labels import Lease
from harness.runtime.ledger import Owner
from harness.runtime.proc import Process


def lease(**changes: object) -> Lease:
    """This process's lease, with something else in it."""
    now = Owner.current()
    process = Process(
        int(str(changes.get("pid", now.process.pid))),
        int(str(changes.get("started", now.process.started))),
    )
    owner = Owner(process, str(changes.get("space", now.machine)))
    return Lease(str(changes.get("machine", labels.machine())), owner)


def test_everything_of_a_cluster_says_whose_it_is() -> None:
    found = labels.labels_of("cluster-1", "run-1")
    assert found == {
        "harness.cluster": "cluster-1",
        "harness.run": "run-1",
        "harness.lease": str(Lease.current()),
        "harness.ledgers": str(ledger.clusters_dir()),
    }
    assert labels.labels_of("cluster-1", "run-1", "node-1") == {**found, "harness.node": "node-1"}


def test_a_lease_survives_being_written() -> None:
    assert Lease.read(str(Lease.current())) == Lease.current()


@pytest.mark.parametrize("text", ["", "x", "1 2 3", "m pid 5 boot space", "m 1 2 boot space more"])
def test_what_is_no_lease_of_ours_is_none(text: str) -> None:
    assert Lease.read(text) is None


def test_it_runs_while_its_process_does() -> None:
    now = Lease.current()
    assert (now.runs, now.expired) == (True, False)
    with subprocess.Popen(["sleep", "600"]) as process:
        status = ledger.proc.status(process.pid)
        assert status is not None
        other = lease(pid=process.pid, started=status.process.started)
        assert (other.runs, other.expired) == (True, False)
        process.kill()
        process.wait()
        assert (other.runs, other.expired) == (False, True)


def test_another_process_with_the_same_id_is_not_it() -> None:
    assert lease(started=1).expired


def test_before_the_last_boot_of_this_machine_nobody_lives() -> None:
    space = Owner.current().machine.partition(" ")[2]
    assert lease(space=f"another-boot {space}").expired


def test_of_other_machines_and_containers_nothing_is_known() -> None:
    boot = Owner.current().machine.partition(" ")[0]
    for unknown in (
        lease(machine="another", started=1),
        lease(machine="another", space="another-boot pid:[1]"),
        lease(space=f"{boot} pid:[1]", started=1),
    ):
        assert (unknown.runs, unknown.expired) == (False, False)


def test_machines_and_users_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    here = labels.machine()
    assert labels.machine() == here
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 12345)
        assert labels.machine() != here
    names = list(os.uname())
    names[1] += "-2"
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(names))
    assert labels.machine() != here
