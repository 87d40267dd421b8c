"""What a compose file says, in the harness's words. No engine has been asked for anything yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from harness.container import Build

Condition: TypeAlias = Literal[
    "service_started", "service_healthy", "service_completed_successfully"
]


@dataclass(frozen=True)
class HealthCheck:
    """`command` exits with 0 once the service serves. Times in seconds, None where the file does
    not say."""

    command: Sequence[str]
    interval_s: float | None = None
    timeout_s: float | None = None
    start_period_s: float | None = None
    retries: int | None = None


@dataclass(frozen=True)
class Volume:
    """A volume at a path of the container. Containers that name the same one share it; without a
    name each has its own."""

    path: str
    name: str | None = None
    read_only: bool = False


@dataclass(frozen=True)
class Service:
    """One service of the file. `image` is its reference, `build` how to make it otherwise. Paths of
    this machine are relative to the current directory if the file's own was.

    `ports` are the TCP ports that the file names; `published` says that some are for the outside.
    `aliases` are further names that it has for everybody, `links` names that others have for it
    alone: name → service. `hosts` are names outside the cluster: name → address. `ulimits` are soft
    and hard ones, -1 for none.
    `health` is None where the file says nothing, and False where it disables health checks.
    """

    name: str
    image: str | None = None
    build: Build | None = None
    command: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = ()
    published: bool = False
    volumes: Sequence[Volume] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)
    tmpfs: Sequence[str] = ()
    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    health: HealthCheck | Literal[False] | None = None
    replicas: int = 1
    memory_bytes: int | None = None
    cpus: float | None = None
    processes: int | None = None
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    shm_bytes: int | None = None
    user: str | None = None
    working_dir: str | None = None
    hostname: str | None = None
    aliases: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str | None = None
    stop_timeout_s: float | None = None
    init: bool = False


@dataclass(frozen=True)
class Project:
    """The services of a file that are to run, and what of it has no effect here: place → why."""

    name: str
    services: Mapping[str, Service]
    ignored: Mapping[str, str]
