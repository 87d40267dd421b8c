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
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import BrokenError, HarnessError
from harness.runtime.docker.labels import CLUSTER, LEASE, LEDGERS, RUN, Lease
from harness.runtime.ledger import ENGINE, clusters_dir, recorded

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")

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
_SETTLE_S = 1.0
"""How long nothing may be found until all counts as gone: what the engine was making when its
harness died turns up only then."""


@dataclass(frozen=True)
class Remains:
    """What one cluster has on the engine. `ledgers` is the directory that its ledger is in, on the
    machine of its harness."""

    cluster: str
    run_id: str
    lease: str
    ledgers: str
    containers: int
    networks: int
    volumes: int

    @property
    def expired(self) -> bool:
        """Whether the lease has certainly run out: its harness was on this machine, and is gone."""
        lease = Lease.read(self.lease)
        return lease is not None and lease.expired

    @property
    def runs(self) -> bool:
        """Whether its harness certainly runs."""
        lease = Lease.read(self.lease)
        return lease is not None and lease.runs

    @property
    def words(self) -> str:
        """What there is, for people."""
        counts = (
            (self.containers, "container"),
            (self.networks, "network"),
            (self.volumes, "volume"),
        )
        return ", ".join(f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts if n)


@dataclass(frozen=True)
class OnEngine:
    """What clusters without a ledger of ours have on an engine: `forgotten` by all, so that it can
    be removed; and what is left alone, with the reason."""

    where: str = ""
    forgotten: tuple[Remains, ...] = ()
    spared: tuple[tuple[Remains, str], ...] = ()


def announce(where: Path, host: str) -> None:
    """Write into the ledger of the cluster at `where` that it has things on the engine at `host`,
    and what it takes to get there: the reaper has none of the variables of its harness."""
    variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    data = {"schema": SCHEMA, "host": host, "variables": variables}
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
        Remains(
            cluster, labels.get(RUN, ""), labels.get(LEASE, ""), labels.get(LEDGERS, ""), *counts
        )
        for cluster, (labels, *counts) in sorted(found.items())
    ]


def look() -> OnEngine:
    """What is on the engine that we would use, and in no ledger of ours; nothing where no engine
    answers. What runs is not mentioned. A ledger in another directory for temporary files is a
    ledger too."""
    from harness.runtime.docker.engine import connect

    own = recorded(clusters_dir())
    try:
        engine = connect()
        listed = _asked(lambda: remains(engine.api))
    except HarnessError:
        return OnEngine()
    forgotten, spared = [], []
    for one in listed:
        if one.cluster in own or one.runs:
            continue
        if not one.expired:
            spared.append((one, "of a harness that cannot be seen from here"))
        elif one.ledgers and one.cluster in recorded(Path(one.ledgers)):
            where = Path(one.ledgers).parent
            spared.append((one, f"its ledger is in {one.ledgers}: use TMPDIR={where}"))
        else:
            forgotten.append(one)
    return OnEngine(engine.where, tuple(forgotten), tuple(spared))


def forget(cluster: str) -> list[str]:
    """Remove what `cluster` has on the engine that `look` found; what would not go, in words."""
    from harness.runtime.docker.engine import connect

    try:
        return remove(connect().api, cluster)
    except HarnessError as error:
        return [str(error)]


def remove(api: APIClient, cluster: str, *, settle: bool = False) -> list[str]:
    """Remove all that `cluster` has on the engine: containers first, all at once, then volumes and
    networks. What would not go, in words. `settle` looks again until nothing turns up any more.
    Raises `BrokenError` if the engine fails."""
    return _asked(lambda: _remove(api, cluster, settle))


def _remove(api: APIClient, cluster: str, settle: bool) -> list[str]:
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
            # Also if somebody else (the reaper, a cleanup) removes it already: it is not gone yet.
            return str(error.explanation or error)
        return None

    if not things:
        return []
    with ThreadPoolExecutor(min(8, len(things))) as threads:
        return [said for said in threads.map(one, things) if said]


def _asked(work: Callable[[], T]) -> T:
    """`work`, with what the docker package raises as an error of ours."""
    import requests
    from docker.errors import DockerException

    try:
        return work()
    except (DockerException, requests.RequestException, OSError) as error:
        raise BrokenError("The Docker engine fails.", why=str(error)) from None


def main() -> int:
    """Remove what the cluster `argv[2]` has on the engine that the ledger `argv[1]` names."""
    from harness.runtime.docker.engine import connect_to

    left: list[str] = []
    try:
        told = json.loads((Path(sys.argv[1]) / ENGINE).read_text())
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(told["variables"])
        left = remove(connect_to(told["host"]).api, sys.argv[2], settle=True)
    except FileNotFoundError:
        pass  # somebody else has undone it
    except (HarnessError, ValueError, KeyError) as error:
        left = [str(error)]
    sys.stderr.write("\n".join(left))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
