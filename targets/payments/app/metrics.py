"""Metrics for Prometheus, of all workers of a node together (multiprocess mode).

The directory is named by the environment variable PROMETHEUS_MULTIPROC_DIR, which must be set
before this module is imported. Every label has a few fixed values: routes are templates; no key,
account or path ever becomes one.
"""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
STATES = ("closed", "open", "half-open")
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"})
OTHER = "other"

_REGISTRY = CollectorRegistry()  # what is served is collected from the files of all workers

_REQUESTS = Histogram(
    "payments_request_seconds",
    "Requests by route, method and class of status.",
    ("route", "method", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    registry=_REGISTRY,
)
_ATTEMPTS = Counter(
    "payments_dependency_attempts_total",
    "Calls sent to dependencies, each attempt for itself.",
    ("dependency", "outcome"),
    registry=_REGISTRY,
)
_REFUSED = Counter(
    "payments_dependency_refused_total",
    "Calls that were not sent: breaker open, bulkhead full, no time left.",
    ("dependency", "reason"),
    registry=_REGISTRY,
)
_BREAKERS = Gauge(
    "payments_breakers",
    "Workers whose breaker is in that state.",
    ("dependency", "state"),
    multiprocess_mode="livesum",
    registry=_REGISTRY,
)
_DROPPED = Counter(
    "payments_analytics_dropped_total",
    "Charges that analytics never heard of.",
    registry=_REGISTRY,
)


def requested(route: str, method: str, status: int, duration_s: float) -> None:
    """A request was answered. `route` is a template that the service knows, or `OTHER`."""
    known = method if method in METHODS else OTHER
    _REQUESTS.labels(route, known, f"{status // 100}xx").observe(duration_s)


def attempted(dependency: str, ok: bool | None) -> None:
    _ATTEMPTS.labels(dependency, {True: "ok", False: "failed", None: "cut short"}[ok]).inc()


def refused(dependency: str, reason: str) -> None:
    _REFUSED.labels(dependency, reason).inc()


def breaker_is(dependency: str, state: str) -> None:
    for one in STATES:
        _BREAKERS.labels(dependency, one).set(one == state)


def analytics_dropped(number: int = 1) -> None:
    _DROPPED.inc(number)


def text() -> bytes:
    """The metrics of all workers, dead ones' counters included."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
