"""How the nodes of jobs start, when they are ready, who leads, and what their logs say."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from harness import Image, Node, Target
from harness.container import Container
from harness.errors import UsageError
from harness.parts import Part
from targets import IMAGES
from targets.jobs.app.postgres import Settings as PostgresSettings
from targets.jobs.app.settings import (
    GATE_PORT,
    MUTANTS,
    POSTGRES_HOST,
    POSTGRES_PORT,
    WEB_PORT,
    WORKER_PORT,
    Release,
    Role,
    Settings,
)
from targets.jobs.part import POSTGRES
from targets.services import asked, json_event, python_path, well

APP = Path(__file__).with_name("app")
GATE = "gate"
LEADER = "cron-leader"
BUSIEST = "busiest-worker"
COLOURS = ("blue", "green")
"""The web nodes, `node-1` and `node-2`."""

MOST_WORKERS = 16
A_DAY_S = 86_400.0

DATABASE = "jobs"
OWNER, USER = "jobs_owner", "jobs"
"""Who owns the tables, and whom the nodes are while they serve. Each is its own password."""

EVENTS = frozenset(
    {
        "attempt",
        "cron-leader",
        "dead",
        "drained",
        "draining",
        "effect",
        "fenced",
        "fire",
        "retry",
        "start",
        "switch",
        "taken-over",
    }
)
"""What of the logs is kept as events of the run."""

_SQL = {"sql": POSTGRES_PORT}
_SETTINGS = "settings.json"
_POSTGRES = "postgres.json"


def request(path: str) -> bytes:
    """A request of HTTP after which the connection ends."""
    return f"GET {path} HTTP/1.1\r\nHost: jobs\r\nConnection: close\r\n\r\n".encode()


def startup_message(user: str, database: str) -> bytes:
    """What begins a connection to PostgreSQL: version 3.0 of its protocol. A server that takes
    connections asks for the password then; one that is just starting says so."""
    words = b"".join(w.encode() + b"\0" for w in ("user", user, "database", database)) + b"\0"
    return struct.pack("!II", 8 + len(words), 3 << 16) + words


_ASKS_FOR_PASSWORD = b"R"


@dataclass(frozen=True, kw_only=True)
class Jobs(Target):
    """Web nodes, which clients talk to, and as dependencies PostgreSQL, `workers` and the gate.

    With `through_gate` clients and load talk to the gate, which is then the one node, and the web
    nodes are dependencies. `green` is what is wrong with the release on node-2. The figures are
    those of `app.settings.Settings`, where they are explained; they are small, so that what takes
    minutes in production takes seconds here.
    """

    name: ClassVar[str] = "jobs"
    ports: ClassVar[Mapping[str, int]] = {"http": WEB_PORT}
    dependencies: ClassVar[Mapping[str, Mapping[str, int]]] = {
        POSTGRES_HOST: _SQL,
        **{f"worker-{number}": {"worker": WORKER_PORT} for number in (1, 2, 3)},
        GATE: {GATE: GATE_PORT},
    }
    probes: ClassVar[Mapping[str, bytes]] = {
        **dict.fromkeys(("http", "worker", GATE), request("/health")),
        "sql": startup_message(USER, DATABASE),
    }
    parts: ClassVar[Sequence[Part]] = (POSTGRES,)
    image: ClassVar[Image | None] = Image(
        IMAGES / "jobs",
        copies={APP: "/srv/app"},
        requirements=("aiohttp", "procrastinate", "psycopg[binary,pool]", "prometheus-client"),
    )
    postgres_image: ClassVar[Image] = Image(
        IMAGES / "jobs-postgres",
        packages=("postgresql-15",),
        copies={APP / "postgres.py": "/srv/postgres.py"},
    )
    roles: ClassVar[Sequence[str]] = (LEADER, BUSIEST)
    mutants: ClassVar[Mapping[str, str]] = {
        **MUTANTS,
        "commits-not-durable": "PostgreSQL acknowledges commits before they are written",
        "finished-jobs-stay": "what is to be forgotten after a while is kept for a day",
        "broken-release": "behind the gate, green fails whatever it is asked",
    }

    nodes: int = 2
    workers: int = 3
    through_gate: bool = False
    green: Release = "sound"
    queues: Mapping[str, int] = field(default_factory=lambda: {"emails": 5, "images": 2, "sync": 1})
    concurrency: int = 8
    max_attempts: int = 4
    stalled_after_s: float = 1.5
    cron_every_s: float = 1.0
    lease_s: float = 0.8
    retention_s: float = 60.0
    drain_s: float = 3.0

    def __post_init__(self) -> None:
        if self.nodes != len(COLOURS):
            raise UsageError(
                f"Jobs cannot have {self.nodes!r} web nodes.", do="It has two, blue and green."
            )
        if not isinstance(self.workers, int) or not 1 <= self.workers <= MOST_WORKERS:
            raise UsageError(
                f"Jobs cannot have {self.workers!r} workers.",
                do=f"workers is a whole number from 1 to {MOST_WORKERS}.",
            )
        for option in ("stalled_after_s", "cron_every_s", "lease_s", "retention_s", "drain_s"):
            if getattr(self, option) <= 0:
                raise UsageError(
                    f"Jobs cannot have {option}={getattr(self, option)!r}.",
                    do=f"{option} is a number of seconds above zero.",
                )
        # What the base class calls the same for all instances depends on the options.
        ports = {
            **{name: {"http": WEB_PORT} for name in self.web_names},
            **{name: {"worker": WORKER_PORT} for name in self.worker_names},
            GATE: {GATE: GATE_PORT},
        }
        beside = {name: of for name, of in ports.items() if name not in self.node_names}
        object.__setattr__(self, "dependencies", {POSTGRES_HOST: _SQL, **beside})
        object.__setattr__(self, "ports", ports[self.node_names[0]])
        super().__post_init__()

    # Whom there is

    @property
    def web_names(self) -> tuple[str, ...]:
        return tuple(f"node-{number}" for number in range(1, self.nodes + 1))

    @property
    def worker_names(self) -> tuple[str, ...]:
        return tuple(f"worker-{number}" for number in range(1, self.workers + 1))

    @property
    def node_names(self) -> tuple[str, ...]:
        return (GATE,) if self.through_gate else self.web_names

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        return {"web": self.web_names, "workers": self.worker_names}

    @property
    def start_groups(self) -> Sequence[Sequence[str]]:
        return ((POSTGRES_HOST,), (*self.web_names, *self.worker_names, GATE))

    # How they start

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        # -P: its working directory, which is full of data, is no place to import from.
        if node.name == POSTGRES_HOST:
            program = node.path(APP / "postgres.py")
            return [node.python, "-P", program, node.program(POSTGRES), _POSTGRES]
        return [node.python, "-P", "-m", "app", _SETTINGS]

    def environment(self, node: Node) -> Mapping[str, str]:
        if node.image is not None or node.name == POSTGRES_HOST:
            return {}  # the image says where its Python code is
        return python_path(APP.parent)

    def files(self, node: Node, peers: Sequence[Node]) -> Mapping[str, str]:
        if node.name == POSTGRES_HOST:
            return {_POSTGRES: self._postgres(node).to_json()}
        return {_SETTINGS: self._settings(node).to_json()}

    def container(self, name: str) -> Container | None:
        if name == POSTGRES_HOST:
            return Container(self.postgres_image, self.limits)
        return super().container(name)

    def _postgres(self, node: Node) -> PostgresSettings:
        lazy = self.mutant == "commits-not-durable"  # Mutant.
        settings = {
            # Nodes die by SIGKILL, never by a power cut: what was handed to the kernel is kept.
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off" if lazy else "on",
            "wal_writer_delay": "10s" if lazy else "200ms",
            "shared_buffers": "32MB",
            "max_connections": "200",
            "jit": "off",
            "timezone": "UTC",
        }
        setup = [
            ("postgres", f"CREATE ROLE {OWNER} LOGIN PASSWORD '{OWNER}'"),
            ("postgres", f"CREATE ROLE {USER} LOGIN PASSWORD '{USER}'"),
            ("postgres", f"CREATE DATABASE {DATABASE} OWNER {OWNER}"),
        ]
        return PostgresSettings(
            address=node.address, port=POSTGRES_PORT, settings=settings, setup=setup
        )

    def _settings(self, node: Node) -> Settings:
        role = self._role(node.name)
        colour = COLOURS[self.web_names.index(node.name)] if role == "web" else node.name
        broken = self.mutant == "broken-release" and self.through_gate  # Mutant.
        green: Release = "fails" if broken else self.green
        stay = self.mutant == "finished-jobs-stay"  # Mutant.
        return Settings(
            name=node.name,
            role=role,
            address=node.address,
            database=DATABASE,
            owner=OWNER,
            owner_password=OWNER,
            user=USER,
            password=USER,
            deployment=colour,
            release=green if colour == "green" else "sound",
            queues=self.queues,
            concurrency=self.concurrency,
            max_attempts=self.max_attempts,
            stalled_after_s=self.stalled_after_s,
            cron_every_s=self.cron_every_s,
            lease_s=self.lease_s,
            retention_s=A_DAY_S if stay else self.retention_s,
            drain_s=self.drain_s,
            colours=dict(zip(COLOURS, self.web_names, strict=True)),
            mutant=self.mutant if self.mutant in MUTANTS else None,
        )

    def _role(self, name: str) -> Role:
        if name == GATE:
            return "gate"
        return "worker" if name in self.worker_names else "web"

    # What they say

    async def ready(self, node: Node) -> bool:
        if node.name == POSTGRES_HOST:
            answer = await asked(node.address, POSTGRES_PORT, self.probes["sql"])
            return answer.startswith(_ASKS_FOR_PASSWORD)
        (port,) = node.ports.values()
        never = node.name == self.web_names[1] and self.green == "never-ready"
        return well(await asked(node.address, port, request("/health" if never else "/ready")))

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        """The leader is who believes to be: one that was cut off may do so until its lease is over.
        The busiest worker is the one in the middle of the most jobs, nobody while all are idle."""
        workers = [node for node in nodes if node.name in self.worker_names]
        answers = await asyncio.gather(*map(_said, workers))
        said = {node.name: one for node, one in zip(workers, answers, strict=True)}
        if role == LEADER:
            return [name for name, one in said.items() if one.get("leader")]
        running = {name: len(one.get("running", ())) for name, one in said.items()}
        busiest = max(running, key=lambda name: running[name], default=None)
        return [busiest] if busiest is not None and running[busiest] else []

    def event(self, line: str) -> tuple[float, str, Mapping[str, Any]] | None:
        return json_event(line, EVENTS)


async def _said(node: Node) -> Mapping[str, Any]:
    """What a worker says of itself; nothing if it does not answer."""
    try:
        answer = await asked(node.address, WORKER_PORT, request("/role"), whole=True)
        return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
    except (OSError, ValueError, TypeError):
        return {}
