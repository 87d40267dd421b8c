"""Labels: everything that a cluster has on an engine carries them, and nothing else is touched."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.runtime.ledger import Owner, clusters_dir
from harness.runtime.proc import Process

CLUSTER = "harness.cluster"
RUN = "harness.run"
NODE = "harness.node"
LEASE = "harness.lease"
LEDGERS = "harness.ledgers"
"""The directory, on the machine of the harness, that holds the cluster's ledger."""


@dataclass(frozen=True)
class Lease:
    """For whom something is on an engine: a harness process, with its start, and its machine."""

    machine: str
    owner: Owner

    @classmethod
    def current(cls) -> Self:
        """That of this process."""
        return cls(machine(), Owner.current())

    @classmethod
    def read(cls, text: str) -> Self | None:
        """What stands in a label; None if that is no lease of ours."""
        try:
            where, pid, started, boot, space = text.split(" ")
            return cls(where, Owner(Process(int(pid), int(started)), f"{boot} {space}"))
        except ValueError:
            return None

    def __str__(self) -> str:
        process = self.owner.process
        return f"{self.machine} {process.pid} {process.started} {self.owner.machine}"

    @property
    def expired(self) -> bool:
        """Whether it has certainly run out: its harness was this user's, here, and is gone."""
        return self.machine == machine() and self.owner.gone

    @property
    def runs(self) -> bool:
        """Whether its harness certainly runs: it can be seen from here."""
        seen = self.machine == machine() and self.owner.machine == Owner.current().machine
        return seen and not self.owner.gone


def labels_of(cluster: str, run_id: str, node: str | None = None) -> dict[str, str]:
    """The labels of what `cluster` has."""
    found = {
        CLUSTER: cluster,
        RUN: run_id,
        LEASE: str(Lease.current()),
        LEDGERS: str(clusters_dir()),
    }
    return found if node is None else {**found, NODE: node}


def machine() -> str:
    """What tells this machine, and this user on it, from others that use the same engine. The id of
    a machine alone does not: those that were cloned have it in common."""
    try:
        own = Path("/etc/machine-id").read_text().strip()
    except OSError:
        own = ""
    return hashlib.sha256(f"{own} {os.uname().nodename} {os.getuid()}".encode()).hexdigest()[:16]
