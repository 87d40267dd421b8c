"""What clusters have on an engine, found and removed by its labels (D3).

The ledger of a cluster says on which engine it has containers, before it has any. So the reaper
undoes those of a harness that was killed, and `harness cleanup` those that a power cut left. The
reaper has the standard library alone: it runs this module in an interpreter that has all packages.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.runtime.docker.labels import CLUSTER, LEASE, RUN
from harness.runtime.ledger import ENGINE, Owner
from harness.runtime.proc import Process

if TYPE_CHECKING:
    from docker import APIClient

SCHEMA = 1

_REMOVE_TIMEOUT_S = 30.0
_VARIABLES = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "HOME",
    "SSH_AUTH_SOCK",
)
_SETTLE_S = 0.3
"""How long nothing may be found until all counts as gone: what the engine was making when its
harness died turns up only then."""


@dataclass(frozen=True)
class Remains:
    """What one cluster has on the engine."""

    cluster: str
    run_id: str
    lease: str
    containers: int
    networks: int
    volumes: int

    @property
    def expired(self) -> bool:
        """Whether the lease has certainly run out: its harness was on this machine, and is gone."""
        try:
            pid, started, machine = self.lease.split(" ", 2)
            return Owner(Process(int(pid), int(started)), machine).gone
        except ValueError:
            return False


def announce(where: Path) -> None:
    """Write into the ledger of the cluster at `where` that it has things on an engine, and how that
    is found: the reaper has none of the variables of its harness."""
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    data = {"schema": SCHEMA, "variables": variables}
    (where / ENGINE).write_text(json.dumps(data) + "\n")


def remains(api: APIClient) -> list[Remains]:
    """What clusters have on the engine, those that run included."""
    found: dict[str, list[Any]] = {}
    for number, listed in enumerate(_list(api)):
        for one in listed:
            labels = one.get("Labels") or {}
            counts = found.setdefault(labels[CLUSTER], [labels, 0, 0, 0])
            counts[number + 1] += 1
    return [
        Remains(cluster, labels.get(RUN, ""), labels.get(LEASE, ""), *counts)
        for cluster, (labels, *counts) in sorted(found.items())
    ]


def remove(api: APIClient, cluster: str, *, settle: bool = False) -> list[str]:
    """Remove all that `cluster` has on the engine: containers first, all at once, then volumes and
    networks. What would not go, in words. `settle` looks again until nothing turns up any more."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    quiet_since: float | None = None
    left: list[str] = []
    while time.monotonic() < deadline:
        containers, networks, volumes = _list(api, cluster)
        if not (containers or networks or volumes):
            quiet_since = quiet_since or time.monotonic()
            if not settle or time.monotonic() - quiet_since >= _SETTLE_S:
                return []
            time.sleep(0.05)
            continue
        quiet_since = None
        left = _at_once(lambda one: api.remove_container(one["Id"], force=True, v=True), containers)
        left += _at_once(lambda one: api.remove_volume(one["Name"], force=True), volumes)
        left += _at_once(lambda one: api.remove_network(one["Id"]), networks)
        if not left and not settle:
            return []
        if left:
            time.sleep(0.1)
    return left


def _list(api: APIClient, cluster: str | None = None) -> tuple[list[Any], list[Any], list[Any]]:
    label = {"label": CLUSTER if cluster is None else f"{CLUSTER}={cluster}"}
    return (
        api.containers(all=True, filters=label),
        api.networks(filters=label),
        api.volumes(filters=label).get("Volumes") or [],
    )


def _at_once(work: Callable[[Any], object], things: list[Any]) -> list[str]:
    from docker.errors import APIError, NotFound

    def one(thing: Any) -> str | None:
        try:
            work(thing)
        except NotFound:
            return None
        except APIError as error:
            # Somebody else (the reaper, a cleanup) removes it already.
            if error.status_code == 409 and "in progress" in str(error):
                return None
            return str(error.explanation or error)
        return None

    if not things:
        return []
    with ThreadPoolExecutor(min(8, len(things))) as threads:
        return [said for said in threads.map(one, things) if said]


def main() -> int:
    """Remove what the cluster `argv[2]` has on the engine that the ledger `argv[1]` names."""
    from harness.runtime.docker.engine import connect

    os.environ.update(json.loads((Path(sys.argv[1]) / ENGINE).read_text())["variables"])
    left = remove(connect().api, sys.argv[2], settle=True)
    print("\n".join(left), file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
