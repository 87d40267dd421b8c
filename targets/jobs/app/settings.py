"""What a node is told when it starts, in one JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, TypeAlias

WEB_PORT = 8080
WORKER_PORT = 8081
GATE_PORT = 8082
POSTGRES_HOST = "postgres"
POSTGRES_PORT = 5432

Role: TypeAlias = Literal["web", "worker", "gate"]
Release: TypeAlias = Literal["sound", "never-ready", "fails", "fails-later"]

PORTS: Mapping[Role, int] = {"web": WEB_PORT, "worker": WORKER_PORT, "gate": GATE_PORT}

MUTANTS: Mapping[str, str] = {
    "effect-before-commit": "a job's effect is committed when a run begins, not when it has ended",
    "no-stalled-recovery": "jobs of workers that died are never looked for",
    "no-fencing": "a worker that was paused applies its effect after another took the job over",
    "retries-without-limit": "a job that fails is tried again for ever",
    "retries-without-jitter": "jobs that failed together are tried again together",
    "limit-per-worker": "each worker counts only its own running jobs against a queue's limit",
    "unique-not-unique": "two unfinished jobs may hold the same unique text",
    "key-not-kept": "an idempotency key is forgotten as soon as its job has finished",
    "cron-without-lock": "every worker fires every window, leader or not",
    "cron-without-fence": "a leader that was paused fires what it believes to be due",
    "cron-never-caught-up": "windows that passed without a leader are never run",
    "lease-never-expires": "the leader that died stays the leader",
    "audit-outside-transaction": "audit rows are written later, by a task in the background",
    "audit-can-be-changed": "the user that serves may update and delete audit rows",
    "soft-delete-leaks": "one read path, the search, goes around the scope",
    "drain-drops-work": "SIGTERM ends a node in the middle of its requests and jobs",
    "gate-without-health-check": "the gate switches to whatever it is told to, and never back",
}
"""name → what is wrong with a service that has it switched on."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of one node. Times are in seconds.

    `host` is the host name of the database, `owner` who migrates it, `user` who serves.
    `deployment` is the id that logs, metrics and audit rows are tagged with. `queues` maps each
    queue to how many of its jobs may run at the same time over all workers; `concurrency` is how
    many one worker runs, whatever their queue. A job that fails is tried up to `max_attempts` times
    in all, with pauses of at most `backoff_base_s` × 2^n, up to `backoff_cap_s`. A worker that gave
    no sign for `stalled_after_s` has lost its jobs to the others. Cron jobs run every
    `cron_every_s`; missed windows are caught up if they began at most `cron_horizon_s` ago. The
    leader's lease is good for `lease_s`. Jobs are forgotten `retention_s` after they finished,
    their keys `key_retention_s` after that, deleted accounts after `purge_after_s`. A node that is
    asked to end takes `drain_s` at most. `release` says what is wrong with what was deployed, so
    that a switch to it can be refused (`never-ready`, `fails`) or taken back (`fails-later`).
    """

    name: str
    role: Role
    address: str
    host: str = POSTGRES_HOST
    database: str = "jobs"
    owner: str = "jobs_owner"
    owner_password: str = "jobs_owner"
    user: str = "jobs"
    password: str = "jobs"
    deployment: str = "blue"
    release: Release = "sound"
    queues: Mapping[str, int] = field(default_factory=lambda: {"emails": 5, "images": 2, "sync": 1})
    concurrency: int = 8
    max_attempts: int = 4
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 2.0
    heartbeat_s: float = 0.25
    stalled_after_s: float = 1.5
    cron_every_s: float = 1.0
    cron_horizon_s: float = 15.0
    lease_s: float = 0.8
    retention_s: float = 60.0
    key_retention_s: float = 3600.0
    purge_after_s: float = 3600.0
    drain_s: float = 3.0
    colours: Mapping[str, str] = field(
        default_factory=lambda: {"blue": "node-1", "green": "node-2"}
    )
    watch_s: float = 1.0
    mutant: str | None = None

    @property
    def port(self) -> int:
        return PORTS[self.role]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `TypeError` or `ValueError` if the file is not one that `to_json` wrote."""
        return cls(**json.loads(path.read_text()))
