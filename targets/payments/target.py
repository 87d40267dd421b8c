"""How the nodes of payments start, when they are ready, and what their logs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness import Image, Node, Target
from harness.errors import UsageError
from targets import IMAGES
from targets.payments.app.settings import DEPENDENCY_PORTS, MEMBER_PORT, Settings
from targets.services import asked, json_event, python_path, well

APP = Path(__file__).with_name("app")
MOST_WORKERS = 16
HEALTH_REQUEST = b"GET /health HTTP/1.1\r\nHost: payments\r\nConnection: close\r\n\r\n"
READY_REQUEST = b"GET /ready HTTP/1.1\r\nHost: payments\r\nConnection: close\r\n\r\n"

EVENTS = frozenset({"breaker", "attempt", "worker-exited", "worker-started", "draining", "drained"})
"""What of the logs is kept as events of the run."""

_SETTINGS = "settings.json"
_METRICS = "metrics"


@dataclass(frozen=True, kw_only=True)
class Payments(Target):
    """`workers` serve on each member. The store keeps idempotency keys for `key_lifetime_s`, which
    must be longer than `retry_horizon_s`, the time after which no client repeats a request.
    `clock_speed` divides the lifetime: at 360, ten seconds do to the keys what an hour does."""

    name: ClassVar[str] = "payments"
    ports: ClassVar[Mapping[str, int]] = {"http": MEMBER_PORT}
    dependencies: ClassVar[Mapping[str, Mapping[str, int]]] = {
        name: {name: port} for name, port in DEPENDENCY_PORTS.items()
    }
    probes: ClassVar[Mapping[str, bytes]] = dict.fromkeys(
        ("http", *DEPENDENCY_PORTS), HEALTH_REQUEST
    )
    image: ClassVar[Image | None] = Image(
        IMAGES / "payments",
        copies={APP: "/srv/app"},
        requirements=("aiohttp", "prometheus-client"),
    )
    mutants: ClassVar[Mapping[str, str]] = {
        "no-idempotency-key": "every request is a charge of its own, whatever its key",
        "key-forgotten-early": "keys live 0.3 s, and most retries come later",
        "effect-before-record": "the provider is called before the key is on record",
        "key-on-one-node": "a node knows only the keys that it has seen itself",
        "keys-not-durable": "the store forgets all keys when it restarts",
        "keys-never-expire": "the store's table grows for ever",
        "no-bulkhead": "all routes share two slots per worker, the feed included",
        "no-breaker": "a dependency that fails is asked again and again",
        "breaker-never-closes": "a breaker that opened once stays open",
        "retries-without-limit": "a call is tried for ten seconds, every few milliseconds",
        "retries-without-jitter": "all who failed together try again together",
        "drain-drops-work": "SIGTERM ends a worker in the middle of its requests",
        "stale-ledger-read": "the status of a key is read from a cache that nobody invalidates",
        "waits-for-analytics": "a charge waits for analytics, with no time-out",
    }

    workers: int = 2
    key_lifetime_s: float = 120.0
    retry_horizon_s: float = 60.0
    clock_speed: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.workers, int) or not 1 <= self.workers <= MOST_WORKERS:
            raise UsageError(
                f"A member cannot have {self.workers!r} workers.",
                do=f"workers is a whole number from 1 to {MOST_WORKERS}.",
            )
        if self.clock_speed <= 0:
            raise UsageError(
                f"A clock cannot run {self.clock_speed!r} times as fast.",
                do="clock_speed is a number above zero.",
            )
        if not 0 < self.retry_horizon_s < self.key_lifetime_s:
            raise UsageError(
                f"Keys that live {self.key_lifetime_s:g} s are gone while clients may still repeat "
                f"requests (for {self.retry_horizon_s:g} s): a repeated one would charge twice.",
                do="Give a key_lifetime_s above retry_horizon_s.",
            )

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        # -P: its working directory, which is full of data, is no place to import from.
        return [node.python, "-P", "-m", "app", _SETTINGS]

    def environment(self, node: Node) -> Mapping[str, str]:
        metrics = {"PROMETHEUS_MULTIPROC_DIR": str(node.home / _METRICS)}
        if node.image is not None:
            return metrics  # the image says where its Python code is
        return {**python_path(APP.parent), **metrics}

    def files(self, node: Node, peers: Sequence[Node]) -> Mapping[str, str]:
        settings = Settings(
            name=node.name,
            address=node.address,
            workers=self.workers,
            key_lifetime_s=self.key_lifetime_s,
            clock_speed=self.clock_speed,
            mutant=self.mutant,
        )
        return {_SETTINGS: settings.to_json()}

    async def ready(self, node: Node) -> bool:
        (port,) = node.ports.values()
        member = node.name not in DEPENDENCY_PORTS
        return well(await asked(node.address, port, READY_REQUEST if member else HEALTH_REQUEST))

    def event(self, line: str) -> tuple[float, str, Mapping[str, Any]] | None:
        return json_event(line, EVENTS)
