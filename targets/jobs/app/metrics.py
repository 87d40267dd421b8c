"""Metrics for Prometheus, of one node. Every label has a few fixed values: routes are templates,
queues those of the settings; no key, account or path ever becomes one."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"})
OTHER = "other"

_REGISTRY = CollectorRegistry()

_DEPLOYMENT = Gauge(
    "jobs_deployment_info",
    "Always 1; the labels say what runs here.",
    ("deployment", "role"),
    registry=_REGISTRY,
)
_REQUESTS = Histogram(
    "jobs_request_seconds",
    "Requests by route, method and class of status.",
    ("route", "method", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    registry=_REGISTRY,
)
_IN_FLIGHT = Gauge(
    "jobs_requests_in_flight", "Requests that are not answered yet.", registry=_REGISTRY
)
_RUNS = Counter(
    "jobs_runs_total",
    "Runs of jobs by how they ended: done, failed, dead, fenced, handed back, lost.",
    ("queue", "outcome"),
    registry=_REGISTRY,
)
_LEADS = Gauge(
    "jobs_cron_leader", "1 if this worker had the lease when it looked last.", registry=_REGISTRY
)
_FORWARDED = Counter(
    "jobs_gate_forwarded_total",
    "Requests forwarded, by colour and class of status; repeated ones count twice.",
    ("colour", "status"),
    registry=_REGISTRY,
)


def runs_here(deployment: str, role: str) -> None:
    _DEPLOYMENT.labels(deployment, role).set(1)


def requested(route: str, method: str, status: int, duration_s: float) -> None:
    """A request was answered. `route` is a template that the service knows, or `OTHER`."""
    known = method if method in METHODS else OTHER
    _REQUESTS.labels(route, known, f"{status // 100}xx").observe(duration_s)


def in_flight(number: int) -> None:
    _IN_FLIGHT.set(number)


def ran(queue: str, outcome: str) -> None:
    _RUNS.labels(queue, outcome).inc()


def leads(whether: bool) -> None:
    _LEADS.set(whether)


def forwarded(colour: str, status: str) -> None:
    _FORWARDED.labels(colour, status).inc()


def text() -> bytes:
    return generate_latest(_REGISTRY)
