"""Probes: what is measured again and again while a run goes on, and the tolerance it has.

A steady-state hypothesis is a list of probes; a stop condition is a probe and how long it may be
out of its tolerance (`stop_when`). The ready-made ones look at the workload and the nodes:

    steady_state=[probes.error_rate(at_most=0.05), probes.latency(p99=milliseconds(300))]
    stop=[stop_when(probes.serving(at_least=2), lasting=seconds(5)), stop_after(minutes(10))]

`probe(name, measure, …)` makes one of a function of your own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.check.windows import percentile
from harness.cluster import Cluster
from harness.errors import UsageError
from harness.history import Op
from harness.record.recorder import Recorder
from harness.units import Duration, seconds, to_seconds


def _ended(recent: tuple[int, Op]) -> int:
    return recent[0]


class Look:
    """What a measuring function is given: the cluster and the workload as they are now."""

    def __init__(self, cluster: Cluster, recorder: Recorder) -> None:
        self._cluster = cluster
        self._recorder = recorder

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return self._cluster.names

    def host(self, name: str) -> str:
        """The address at which clients reach a node or dependency, through its link."""
        return self._cluster.client_host(name)

    def address(self, name: str) -> str:
        """The address of the node or dependency itself, past all links: what is measured there is
        not disturbed by what faults do to links."""
        return self._cluster.node(name).address

    def state(self, name: str) -> str:
        """`running`, `paused` or `down`."""
        return self._cluster.state(name)

    def serving(self, name: str) -> bool:
        """Whether the node was ready since its last start, runs, and is not paused."""
        return self._cluster.serving(name)

    def ops(self, over_s: float) -> list[Op]:
        """The ops that ended in the last `over_s` seconds, in whatever way."""
        since = self._recorder.now() - round(over_s * 1e9)
        recent = list(self._recorder.recent)
        return [op for ended, op in recent[bisect_left(recent, since, key=_ended) :]]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A named measurement with a tolerance. `measure` is given a `Look` and returns a number, True
    or False, or None for "nothing to measure"; it may be `async`; a plain one runs in a thread.
    """

    name: str
    measure: Callable[[Look], Any]
    at_least: float | None = None
    at_most: float | None = None

    def within(self, value: float | None) -> bool:
        """Whether `value` is within the tolerance; that nothing was measured never is."""
        if value is None:
            return False
        if self.at_least is not None and value < self.at_least:
            return False
        return self.at_most is None or value <= self.at_most

    @property
    def tolerance(self) -> str:
        """`at least 2`, `at most 0.05`, or both."""
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)

    def to_json(self) -> dict[str, Any]:
        """Name and tolerance, as they stand in a plan."""
        return {"probe": self.name, "at_least": self.at_least, "at_most": self.at_most}


@dataclass(frozen=True, kw_only=True)
class StopWhen:
    """A stop condition. See `stop_when`."""

    probe: Probe
    lasting_s: float

    def to_json(self) -> dict[str, Any]:
        return {**self.probe.to_json(), "lasting_s": self.lasting_s}


@dataclass(frozen=True, kw_only=True)
class StopAfter:
    """A bound on the time from the first op on. See `stop_after`."""

    limit_s: float

    def to_json(self) -> dict[str, Any]:
        return {"limit_s": self.limit_s}


def probe(
    name: str,
    measure: Callable[[Look], Any],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Probe:
    """A probe of one's own. Without any tolerance, `measure` must return True.

    An exception of `measure`, and taking longer than a second, count as out of tolerance. Raises
    `UsageError` for what cannot be meant.
    """
    if not callable(measure):
        raise UsageError(
            f"probe({name!r}): {measure!r} is no function.",
            do="Give a function that takes a Look and returns a number.",
        )
    for bound in (at_least, at_most):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, float))):
            raise UsageError(f"probe({name!r}): {bound!r} is no number.")
    if at_least is None and at_most is None:
        at_least = 1
    return Probe(name=name, measure=measure, at_least=at_least, at_most=at_most)


def error_rate(*, at_most: float, over: Duration = seconds(1)) -> Probe:
    """The share of the workload's ops that were not answered, of those that ended of late."""
    over_s = to_seconds(over, "probes.error_rate: over")

    def measure(look: Look) -> float | None:
        ops = look.ops(over_s)
        lost = sum(not op.answered for op in ops)
        return lost / len(ops) if ops else None

    return probe("error_rate", measure, at_most=at_most)


def latency(
    *,
    p50: Duration | None = None,
    p95: Duration | None = None,
    p99: Duration | None = None,
    f: str | None = None,
    over: Duration = seconds(1),
) -> Probe:
    """A percentile, in seconds, of how long the answered ops of the last while took: all of them,
    or those of the operation `f`. Give one of `p50`, `p95`, `p99` as the most it may be."""
    given = [(p, bound) for p, bound in ((50, p50), (95, p95), (99, p99)) if bound is not None]
    if len(given) != 1:
        raise UsageError("probes.latency needs exactly one of p50=, p95= and p99=.")
    ((p, bound),) = given
    over_s = to_seconds(over, "probes.latency: over")

    def measure(look: Look) -> float | None:
        took = sorted(
            (op.end - op.start) / 1e9
            for op in look.ops(over_s)
            if op.outcome == "ok" and op.end is not None and f in (None, op.f)
        )
        return percentile(took, p) if took else None

    name = f"latency_p{p}" + (f"_{f}" if f else "")
    return probe(name, measure, at_most=to_seconds(bound, f"probes.latency: p{p}"))


def serving(*, at_least: int) -> Probe:
    """How many nodes serve: ready since their last start, running, not paused."""
    return probe("serving", lambda look: sum(map(look.serving, look.names)), at_least=at_least)


def stop_when(condition: Probe, *, lasting: Duration = seconds(1)) -> StopWhen:
    """Abort the run when `condition` has been out of its tolerance for that long, unbroken."""
    if not isinstance(condition, Probe):
        raise UsageError(
            f"stop_when: {condition!r} is no probe.",
            do="Write stop_when(probes.error_rate(at_most=0.9), lasting=seconds(3)).",
        )
    return StopWhen(probe=condition, lasting_s=to_seconds(lasting, "stop_when: lasting"))


def stop_after(limit: Duration) -> StopAfter:
    """Abort the run when it has taken that long, from the first op on."""
    return StopAfter(limit_s=to_seconds(limit, "stop_after"))
