"""Labels: everything that a cluster has on an engine carries them, and nothing else is touched."""

from __future__ import annotations

from harness.runtime.ledger import Owner

CLUSTER = "harness.cluster"
RUN = "harness.run"
NODE = "harness.node"
LEASE = "harness.lease"


def labels_of(cluster: str, run_id: str, node: str | None = None) -> dict[str, str]:
    """The labels of what `cluster` has. The lease names the harness process that it is for, with
    its start and its machine; when that is gone, it has run out."""
    owner = Owner.current()
    lease = f"{owner.process.pid} {owner.process.started} {owner.machine}"
    found = {CLUSTER: cluster, RUN: run_id, LEASE: lease}
    return found if node is None else {**found, NODE: node}
