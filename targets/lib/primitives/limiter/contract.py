"""What every limiter promises, and what it measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from ..telemetry import Schema

Reason: TypeAlias = Literal["ok", "limit", "unavailable"]

SCHEMA = Schema(
    component="limiter",
    operations={"acquire": ("ok", "limit", "unavailable"), "peer": ("ok", "failed")},
    gauges=("keys",),
    timed=("acquire",),
)
"""`acquire` by what was decided; `peer` is what was sent to other nodes; `keys` are remembered."""


@dataclass(frozen=True)
class Decision:
    """Whether a request may go on.

    `limit`: the budget is used up; some of it is free again after `retry_after_s`. `unavailable`:
    the limiter cannot decide now; `retry_after_s` is when it is worth asking again.
    """

    admitted: bool
    reason: Reason
    retry_after_s: float


class Limiter(Protocol):
    """Limits requests to `limit` in any window of `per_s` seconds, for each key by itself.

    Every adapter keeps to this, and the compliance suite shows it:

    - All nodes together admit at most `limit` × (1 + `error`) in any window [t, t + `per_s`), from
      the first start of a node on: over netsplits, pauses, and nodes killed and started again. An
      admission takes place at some moment within its `acquire`.
    - `acquire` answers within a second whatever happens to other nodes, and never raises for it.
      A request that gets "unavailable" may have used up budget; it was not admitted.
    - A refusal for the limit says after how many seconds, at most `per_s`, one more would fit if
      nobody else asked.
    - Before `start` and after `close` everything is "unavailable".
    - Memory is bounded: by `limit` times for each key, and a bounded number of keys.
    """

    @property
    def error(self) -> float:
        """The share by which all nodes together may exceed the limit; 0 is exact."""

    async def start(self) -> None:
        """Begin to work. Does not wait for other nodes."""

    async def close(self) -> None:
        """Stop, and end what runs in the background."""

    async def acquire(self, key: str) -> Decision:
        """Ask for one admission."""
