"""What nodes say about themselves: events on standard output, and one schema of metrics for all.

Components (mesh, pubsub, limiter, …) differ in what they do, not in how they are measured: three
families of metrics serve all of them, and the adapters of one component share its `Schema`. A
dashboard that was made for one adapter therefore shows the other one, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of `Metrics.text`, for HTTP."""

_STDOUT = 1
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def emit(event: str, **data: Any) -> None:
    """Write one event as a line of JSON on standard output, with the loop's time in seconds."""
    line = orjson.dumps({"event": event, "at": now(), **data}, default=str)
    # That the log cannot be written (a full disk) must not change what a node does.
    with contextlib.suppress(OSError):
        os.write(_STDOUT, line + b"\n")


def now() -> float:
    """The loop's time in seconds; outside of a loop the clock that loops read."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What every adapter of a component measures: its operations with their possible outcomes, its
    gauges, and the operations whose duration is measured. Declared once, beside the protocol."""

    component: str
    operations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gauges: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()


class Metrics:
    """The metrics of one process. `registry` takes what a service measures beside its parts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._operations = Counter(
            "primitives_operations_total",
            "Operations by component, adapter and outcome.",
            ("component", "adapter", "operation", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "primitives_operation_seconds",
            "How long operations took.",
            ("component", "adapter", "operation"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._gauges = Gauge(
            "primitives_gauge",
            "What a component holds now.",
            ("component", "adapter", "what"),
            registry=self.registry,
        )

    def meter(self, schema: Schema, adapter: str) -> Meter:
        """Where one adapter of a component counts. All of its series exist from now on."""
        return Meter(
            counters={
                (operation, outcome): self._operations.labels(
                    schema.component, adapter, operation, outcome
                )
                for operation, outcomes in schema.operations.items()
                for outcome in outcomes
            },
            gauges={
                what: self._gauges.labels(schema.component, adapter, what) for what in schema.gauges
            },
            timers={
                operation: self._seconds.labels(schema.component, adapter, operation)
                for operation in schema.timed
            },
        )

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)


class Meter:
    """Counts what one adapter does. What its schema does not name raises `ValueError`: names that
    are made up while running would grow without bound."""

    def __init__(
        self,
        *,
        counters: Mapping[tuple[str, str], Counter],
        gauges: Mapping[str, Gauge],
        timers: Mapping[str, Histogram],
    ) -> None:
        self._counters = counters
        self._gauges = gauges
        self._timers = timers

    def count(self, operation: str, outcome: str = "ok", number: int = 1) -> None:
        """`number` more operations ended in that way."""
        counter = self._counters.get((operation, outcome))
        if counter is None:
            raise _unknown(f"{operation} with outcome {outcome}")
        counter.inc(number)

    def gauge(self, what: str, value: float) -> None:
        """There are `value` of these now."""
        gauge = self._gauges.get(what)
        if gauge is None:
            raise _unknown(f"gauge {what}")
        gauge.set(value)

    def observe(self, operation: str, seconds: float) -> None:
        """One operation took `seconds`."""
        timer = self._timers.get(operation)
        if timer is None:
            raise _unknown(f"duration of {operation}")
        timer.observe(seconds)


def _unknown(what: str) -> ValueError:
    return ValueError(f"{what} is not in the component's schema, which bounds its labels: add it")
