"""A workload: which clients, how many, how fast, and which operations, all from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from harness.errors import UsageError
from harness.units import Duration, seconds, to_seconds
from harness.workload.client import Client

MAX_CLIENTS = 1000


class Seen:
    """The kind of `SEEN`."""

    def __repr__(self) -> str:
        return "SEEN"


SEEN = Seen()
"""Among the values of a request: what the client knows last about the request's key, from its own
completed ops, at the moment when it invokes it. None if it knows nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """One operation to invoke: the client's method `f`, a key (None for none), its values, and
    those given by name. A final read with `at` is asked of that node or dependency alone."""

    f: str
    key: Any = None
    values: tuple[Any, ...] = ()
    named: Mapping[str, Any] | None = None
    at: str | None = None

    def bound(self, observed: Observed) -> Request:
        """The request with what the client has `observed` in the place of `SEEN`."""
        if SEEN not in self.values:
            return self
        seen = observed.get(self.key)
        values = tuple(seen if value is SEEN else value for value in self.values)
        return replace(self, values=values)

    @property
    def value(self) -> Any:
        """The values as a history shows them: none, one, or a list; named ones as a map."""
        if self.named:
            return {**self.named, "values": list(self.values)} if self.values else {**self.named}
        if not self.values:
            return None
        return self.values[0] if len(self.values) == 1 else list(self.values)


Observed: TypeAlias = dict[Any, Any]
"""Key → the value one client knows last, from its own completed operations."""

Requests: TypeAlias = Callable[[random.Random, int, Observed], Iterator[Request]]
"""`requests(random, client, observed)`: the endless stream of one client's operations. Everything
random comes from `random`. A value that depends on answers (the expected value of a cas) is `SEEN`,
which a replay binds anew; `observed` may be looked at for what to do next, which a replay repeats
as it was recorded."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Concurrent clients, each with one operation at a time.

    `rate` is the aim of all clients together in operations per second, paced evenly: a client
    that waits for a slow answer skips its turns meanwhile. None means a closed loop: each client
    goes on as soon as it was answered. `op_timeout` bounds every operation. `final` are the reads
    asked of every node once everything is healed; after them each client asks those that
    `own_final` gives for its number, on its own connection: what only it can know (what it was
    sent).
    """

    name: str
    client: type[Client]
    requests: Requests
    final: Sequence[Request] = ()
    own_final: Callable[[int], Sequence[Request]] | None = None
    clients: int = 10
    rate: float | None = None
    op_timeout: Duration = field(default_factory=lambda: seconds(1))
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.clients, int) or not 1 <= self.clients <= MAX_CLIENTS:
            raise UsageError(
                f"Workload {self.name} cannot have {self.clients!r} clients.",
                do=f"clients is a whole number from 1 to {MAX_CLIENTS}.",
            )
        if self.rate is not None and self.rate <= 0:
            raise UsageError(
                f"Workload {self.name} cannot run at a rate of {self.rate!r} ops/s.",
                do="Give a rate above zero, or None for a closed loop.",
            )
        to_seconds(self.op_timeout, "op_timeout")

    @property
    def op_timeout_s(self) -> float:
        """The deadline of one operation in seconds."""
        return to_seconds(self.op_timeout, "op_timeout")

    def to_json(self) -> dict[str, Any]:
        """Name and figures, as they stand in a plan."""
        return {
            "name": self.name,
            "client": self.client.__name__,
            "clients": self.clients,
            "rate": self.rate,
            "op_timeout_s": self.op_timeout_s,
            **self.options,
        }
