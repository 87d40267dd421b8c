"""What the harness is told of Redis: options, configuration files, mutants, requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Node
from harness.errors import UsageError
from harness.seeds import stream
from targets.redis import Redis, RedisClient, add_workload

NAMES = ("node-1", "node-2", "node-3")


def files(target: Redis, name: str, home: Path) -> dict[str, list[str]]:
    """The lines of a node's files."""
    peers = [Node(peer, f"127.9.0.{n}", home, target.ports) for n, peer in enumerate(NAMES)]
    node = next(peer for peer in peers if peer.name == name)
    return {file: text.splitlines() for file, text in target.files(node, peers).items()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"down_after_ms": 0}, "down_after_ms"),
        ({"failover_timeout_ms": 1.5}, "failover_timeout_ms"),
        ({"min_replicas_to_write": -1}, "min_replicas_to_write"),
        ({"min_replicas_to_write": 3}, "Nobody could ever write"),
        ({"min_replicas_max_lag_s": 0}, "min_replicas_max_lag_s"),
        ({"ping_period_ms": 0}, "ping_period_ms"),
        ({"mutant": "no-such"}, "not-durable"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Redis(**options)  # type: ignore[arg-type]


def test_all_but_the_first_follow_the_first(tmp_path: Path) -> None:
    followed = [
        [line for line in files(Redis(), name, tmp_path)["redis.conf"] if "replicaof" in line]
        for name in NAMES
    ]
    assert followed == [[], ["replicaof node-1 6379"], ["replicaof node-1 6379"]]


def test_a_sentinel_is_told_of_all_whom_it_would_find(tmp_path: Path) -> None:
    lines = files(Redis(), "node-2", tmp_path)["sentinel.conf"]
    assert "sentinel monitor main node-1 6379 2" in lines
    replicas = [line.split()[3] for line in lines if line.startswith("sentinel known-replica")]
    assert replicas == ["node-2", "node-3"]
    others = {
        line.split()[3]: line.split()[5]
        for line in lines
        if line.startswith("sentinel known-sentinel")
    }
    assert list(others) == ["node-1", "node-3"]
    for name, id in others.items():
        assert f"sentinel myid {id}" in files(Redis(), name, tmp_path)["sentinel.conf"]


def test_nobody_is_told_an_address_but_where_to_listen(tmp_path: Path) -> None:
    for name in NAMES:
        for lines in files(Redis(), name, tmp_path).values():
            assert [line.split()[0] for line in lines if "127." in line] == ["bind"]


def test_options_reach_the_files(tmp_path: Path) -> None:
    target = Redis(
        nodes=3,
        down_after_ms=111,
        failover_timeout_ms=222,
        min_replicas_to_write=2,
        min_replicas_max_lag_s=3,
    )
    found = files(target, "node-1", tmp_path)
    assert {"min-replicas-to-write 2", "min-replicas-max-lag 3"} <= set(found["redis.conf"])
    assert "sentinel down-after-milliseconds main 111" in found["sentinel.conf"]
    assert "sentinel failover-timeout main 222" in found["sentinel.conf"]


@pytest.mark.parametrize(
    ("mutant", "file", "line"),
    [
        ("not-durable", "redis.conf", "appendonly no"),
        ("replicas-writable", "redis.conf", "replica-read-only no"),
        ("lag-zero", "redis.conf", "min-replicas-max-lag 0"),
        ("no-failover", "sentinel.conf", "sentinel monitor main node-1 6379 4"),
    ],
)
def test_a_mutant_is_one_line_in_a_file(mutant: str, file: str, line: str, tmp_path: Path) -> None:
    sound = files(Redis(), "node-1", tmp_path)
    with_bug = files(Redis(mutant=mutant), "node-1", tmp_path)
    changed = {name: set(with_bug[name]) - set(sound[name]) for name in sound}
    assert changed == {**{name: set() for name in sound}, file: {line}}


def test_every_mutant_is_tested_above() -> None:
    (mark,) = test_a_mutant_is_one_line_in_a_file.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in mark.args[1]} == set(Redis.mutants)


def test_every_port_has_a_probe() -> None:
    assert Redis().all_ports.keys() == Redis.probes.keys()


def test_no_element_is_added_twice() -> None:
    workload = add_workload(clients=3)
    assert workload.client is RedisClient
    added: list[int] = []
    for client in range(3):
        requests = iter(workload.requests(stream(1, "t", str(client)), client, {}))
        found = [next(requests) for _ in range(50)]
        added += [request.values[0] for request in found if request.f == "add"]
        assert {request.f for request in found} == {"add", "read"}
    assert len(added) == len(set(added)) > 100
